"""Trace files: round trip, damage, versions."""

import dataclasses
import json
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import TWO_THREE_ONE_INPUTS, nature_like, networks, slow_stream, two_three_one

from neurosim.errors import LoadError
from neurosim.simulation import simulate
from neurosim.trace_file import load_trace
from neurosim.transforms import prune, set_thresholds


@settings(max_examples=15)
@given(network=networks(), seed=st.integers(0, 2**31))
def test_round_trip(network, seed, tmp_path_factory):
    path = tmp_path_factory.mktemp("trace") / "run.trace"
    trace = simulate(network, slow_stream(network.input.shape, 4, np.random.default_rng(seed)), numerics="float64")
    trace.save(path)
    again = load_trace(path)
    assert again.network.sha256 == network.sha256 and again.network.thresholds == network.thresholds
    assert again.totals_by_counter == trace.totals_by_counter and again.reduction() == trace.reduction()
    for name in ("first", "totals", "counts", "event_start", "event_element", "outputs", "input_counts"):
        assert np.array_equal(getattr(again, name), getattr(trace, name)), name
    resimulated = simulate(again.network, slow_stream(network.input.shape, 4, np.random.default_rng(seed)), numerics="float64")
    assert np.array_equal(resimulated.counts, trace.counts)


def test_the_hash_follows_weights_and_not_thresholds():
    network = two_three_one()
    assert set_thresholds(network, 0.5).sha256 == network.sha256
    assert prune(network, 0.5).sha256 != network.sha256


@pytest.mark.parametrize(
    "content, message", [(b"", "not a neurosim trace"), (b"PK\x03\x04 something", "not a neurosim trace"), (None, "no such file")]
)
def test_other_files_are_refused(tmp_path, content, message):
    path = tmp_path / "x.trace"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(LoadError, match=message):
        load_trace(path)


def test_a_truncated_trace_is_refused(tmp_path):
    path = tmp_path / "x.trace"
    simulate(two_three_one(), TWO_THREE_ONE_INPUTS).save(path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(LoadError, match="not a neurosim trace, or damaged"):
        load_trace(path)


def test_an_altered_trace_is_refused(tmp_path):
    path, altered = tmp_path / "x.trace", tmp_path / "y.trace"
    simulate(two_three_one(), TWO_THREE_ONE_INPUTS).save(path)
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(altered, "w") as target:
        for name in source.namelist():
            data = bytearray(source.read(name))
            if name == "totals.npy":
                data[-8] ^= 1
            target.writestr(name, bytes(data))
    with pytest.raises(LoadError, match="do not match their digest"):
        load_trace(altered)


def test_another_format_is_refused(tmp_path):
    path = tmp_path / "x.trace"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("trace.json", '{"format": "neurosim.trace/99"}')
    with pytest.raises(LoadError, match="trace format 'neurosim.trace/99', this version reads"):
        load_trace(path)


def test_nothing_is_left_behind_when_writing_fails(tmp_path):
    trace = simulate(two_three_one(), TWO_THREE_ONE_INPUTS)
    with pytest.raises(LoadError, match="cannot write"):
        trace.save(tmp_path / "missing" / "x.trace")
    assert list(tmp_path.iterdir()) == []


def test_a_sampled_reference_gives_ratios_but_no_totals():
    inputs = np.repeat(TWO_THREE_ONE_INPUTS, 4, axis=0)
    trace = simulate(two_three_one(), inputs, reference=3)
    assert trace.totals_by_counter["zero_skip_macs"] is None
    shares = trace.reduction()
    assert shares["activation"] is not None and shares["delta"] is not None


@pytest.mark.parametrize(
    "change, message",
    [
        (
            lambda t: dict(event_element=np.where(np.arange(t.event_element.size) == 2, 60000, t.event_element).astype(np.uint16)),
            "does not exist",
        ),
        (lambda t: dict(event_start=np.append(t.event_start[:-1], 10**9)), "not in order"),
        (lambda t: dict(first=t.first[:1].copy()), "first has shape"),
        (lambda t: dict(n_recorded=2), "event_start has shape"),
        (lambda t: dict(counts=t.counts + np.int32(1)), "events and counts disagree"),
        (lambda t: dict(totals=t.totals.astype(float)), "totals has"),
        (lambda t: dict(timesteps_per_input=0), "0 per input"),
    ],
)
def test_parts_that_contradict_each_other_are_refused(tmp_path, change, message):
    """Whoever makes a file can make its digest too: a kernel must never index with what a file claims."""
    trace = simulate(two_three_one(), TWO_THREE_ONE_INPUTS)
    path = tmp_path / "x.trace"
    dataclasses.replace(trace, **change(trace)).save(path)
    with pytest.raises(LoadError, match=message):
        load_trace(path)


@pytest.mark.parametrize("key, value", [("n_timesteps", 20), ("input_events", 1), ("schedule", "pipelined")])
def test_an_altered_header_is_refused(tmp_path, key, value):
    path, altered = tmp_path / "x.trace", tmp_path / "y.trace"
    simulate(two_three_one(), TWO_THREE_ONE_INPUTS).save(path)
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(altered, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            target.writestr(name, json.dumps(json.loads(data) | {key: value}) if name == "trace.json" else data)
    with pytest.raises(LoadError, match="do not match their digest"):
        load_trace(altered)


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    from neurosim import trace_file

    monkeypatch.setattr(trace_file, "_BOMB_BYTES", 1 << 20)
    path = tmp_path / "x.trace"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("trace.json", "{}")
        archive.writestr("bomb.npy", bytes(1 << 24))
    with pytest.raises(LoadError, match="would unpack to 16,777,218"):
        load_trace(path)


def test_a_sampled_reference_does_not_favour_the_reset():
    """One reset in 4,000 slow timesteps: sampled ratios stay near the full ones, and their product is the total."""
    rng = np.random.default_rng(1)
    network = nature_like(rng)
    inputs = slow_stream((20, 20, 2), 4000, rng, change=0.002)
    full, sampled = (simulate(network, inputs, reference=r, record="none").reduction() for r in ("all", 400))
    assert sampled["vs_dense"] == full["vs_dense"]
    assert sampled["delta"] == pytest.approx(full["delta"], rel=0.02)
    for r in (full, sampled):
        assert r["pruning"] * r["activation"] * r["delta"] == pytest.approx(r["vs_dense"], rel=1e-12)
