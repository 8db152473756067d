"""Guided search: better than chance, the same for any number of workers and after an interruption, seen by optuna-dashboard."""

import pytest

from neurosim.errors import LoadError
from neurosim.explore.study import Store, read_study, run_study
from neurosim.explore.study.dashboard import write_trials
from neurosim.explore.study.search import FAR, missed


@pytest.fixture
def guided(write, small):
    def made(kind="guided", samples=40):
        model = small.runs["model"][0]
        return read_study(write(
            search=f"{{kind: {kind}, samples: {samples}, batch: 8, seed: 1}}",
            runs=f"{{model: ['{model}'], threshold: {{low: 0.0001, high: 10, log: true}}, threshold.input: {{low: 0.0001, high: 10, log: true}}}}",
            prices="{chip: [loihi2], core.neurons: {low: 8, high: 64, integer: true, log: true}}",
            objectives="[effective_macs, max_abs_error]", constraints="{max_abs_error: {max: 10}, effective_macs: {max: 2000}}"))

    return made


def good(folder):
    """Rows that keep both constraints."""
    return sum(r["max_abs_error"] <= 10 and r["effective_macs"] <= 2000 for r in Store(folder).table())


def test_same_points_for_any_number_of_workers(guided, tmp_path):
    run_study(guided(), tmp_path / "a")
    done = run_study(guided(), tmp_path / "b", workers=2)
    assert done.rows == 40
    assert (tmp_path / "a" / "table.parquet").read_bytes() == (tmp_path / "b" / "table.parquet").read_bytes()
    for path in sorted((tmp_path / "b" / "rows").iterdir())[::3]:
        path.unlink()
    assert 0 < run_study(guided(), tmp_path / "b").priced < 40
    assert (tmp_path / "a" / "table.parquet").read_bytes() == (tmp_path / "b" / "table.parquet").read_bytes()


def test_longer_search_begins_with_the_shorter(guided, tmp_path):
    run_study(guided(samples=16), tmp_path / "a")
    short = [r["threshold"] for r in Store(tmp_path / "a").table()]
    done = run_study(guided(samples=24), tmp_path / "a")
    assert [r["threshold"] for r in Store(tmp_path / "a").table()][:16] == short and done.simulated == 8


def test_guided_finds_more_than_chance(guided, tmp_path):
    run_study(guided(), tmp_path / "guided")
    run_study(guided("random"), tmp_path / "random")
    assert good(tmp_path / "guided") > good(tmp_path / "random")


def test_missed_is_relative_to_the_bounds(guided):
    study = guided()
    row = {"fits": True, "effective_macs": 4000.0, "max_abs_error": 5.0}
    assert missed(study, row) == 1.0  # (4000 - 2000) / 2000; the other bound is kept by half
    assert missed(study, {**row, "effective_macs": 500.0}) == -0.5
    assert missed(study, {**row, "fits": False}) == FAR == missed(study, {**row, "max_abs_error": None})


def test_dashboard_reads_the_rows(guided, tmp_path):
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    study, address = guided(samples=10), str(tmp_path / "trials.journal")
    run_study(study, tmp_path / "a")
    assert write_trials(study, tmp_path / "a", address) == 10
    read = optuna.load_study(study_name="small", storage=JournalStorage(JournalFileBackend(address)))
    rows = list(Store(tmp_path / "a").table())
    assert [t.values for t in read.trials] == [[r["effective_macs"], r["max_abs_error"]] for r in rows]
    assert [t.params["threshold"] for t in read.trials] == [r["threshold"] for r in rows]
    with pytest.raises(LoadError, match="holds a study 'small' already"):
        write_trials(study, tmp_path / "a", address)
