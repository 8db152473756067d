"""Trace files: one zip of plain arrays and JSON, versioned, with a digest, without pickle.

A file is untrusted: sizes are limited before anything is unpacked, and every array is checked
against the others before a kernel may index with it.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from neurosim import counters
from neurosim.errors import LoadError
from neurosim.network_arrays import from_arrays, to_arrays
from neurosim.synapses import INPUT
from neurosim.trace import Reference, Trace
from neurosim.whole_file import whole_file

FORMAT = "neurosim.trace/1"
_SCALARS = ("n_timesteps", "numerics", "schedule", "rule", "readout", "timesteps_per_input", "input_events",
            "first_input_events", "n_recorded", "manifest")
_ARRAYS = ("first", "totals", "first_totals", "counts", "input_counts", "event_start", "event_element", "outputs", "overflows")
_REFERENCE = ("max_abs_error", "mean_abs_error", "argmax_agreement", "complete")
_BOMB_BYTES, _BOMB_RATIO = 1 << 30, 100


def save_trace(trace: Trace, path: Path) -> None:
    """Write a trace; the file appears only when it is whole.

    Raises
    ------
    LoadError
        When the file cannot be written.
    """
    structure, arrays = to_arrays(trace.network)
    header: dict[str, Any] = {"format": FORMAT, "counters": counters.VERSION, "network": structure,
                              "network_sha256": trace.network.sha256, **{k: getattr(trace, k) for k in _SCALARS}}
    payload = {f"network.{k}": a for k, a in arrays.items()}
    payload |= {k: getattr(trace, k) for k in _ARRAYS if getattr(trace, k) is not None}
    if trace.reference is not None:
        payload |= {f"reference.{k}": getattr(trace.reference, k) for k in ("timesteps", "zero_skip_macs")}
        header["reference"] = {k: getattr(trace.reference, k) for k in _REFERENCE}
    header["digest"] = _digest(header, payload)
    with whole_file(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("trace.json", json.dumps(header))
        for name, array in payload.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as f:
                np.lib.format.write_array(f, np.asarray(array, order="C"), allow_pickle=False)


def load_trace(path: str | Path) -> Trace:
    """Read a Trace file.

    Raises
    ------
    LoadError
        When the file is missing, is not a trace, is of another format, would unpack to far more
        than it holds, does not match its digest, or its parts contradict each other.
    """
    path = Path(path)
    try:
        header, payload = _read(path)
    except FileNotFoundError:
        raise LoadError(f"{path}: no such file") from None
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise LoadError(f"{path}: not a neurosim trace, or damaged ({error})") from None
    if header.pop("digest", None) != _digest(header, payload):
        raise LoadError(f"{path}: contents do not match their digest; the file was altered or damaged")
    try:
        trace = _from_payload(header, payload)
        _check(trace, header["network_sha256"])
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, ZeroDivisionError) as error:
        raise LoadError(f"{path}: the parts of the trace contradict each other ({error})") from None
    return trace


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(info.file_size for info in archive.infolist())
        if unpacked > max(_BOMB_BYTES, _BOMB_RATIO * path.stat().st_size):
            raise LoadError(f"{path}: {path.stat().st_size:,} bytes would unpack to {unpacked:,}; refused")
        header = json.loads(archive.read("trace.json"))
        if not isinstance(header, dict) or header.get("format") != FORMAT:
            found = header.get("format") if isinstance(header, dict) else None
            raise LoadError(f"{path}: trace format {found!r}, this version reads {FORMAT!r}")
        payload = {name[:-4]: np.lib.format.read_array(io.BytesIO(archive.read(name)), allow_pickle=False)
                   for name in archive.namelist() if name.endswith(".npy")}
    return header, payload


def _from_payload(header: dict[str, Any], payload: dict[str, np.ndarray]) -> Trace:
    network = from_arrays(header["network"], {k[8:]: a for k, a in payload.items() if k.startswith("network.")})
    reference = None
    if "reference" in header:
        reference = Reference(payload["reference.timesteps"], payload["reference.zero_skip_macs"], **header["reference"])
    scalars: dict[str, Any] = {k: header[k] for k in _SCALARS}
    arrays: dict[str, Any] = {k: payload.get(k) for k in _ARRAYS}
    for name in ("totals", "first_totals", "counts"):  # the last columns came with later versions; what they count was 0
        if arrays[name] is not None and 0 < arrays[name].shape[-1] < len(counters.KERNEL_COLUMNS):
            missing = len(counters.KERNEL_COLUMNS) - arrays[name].shape[-1]
            arrays[name] = np.pad(arrays[name], [(0, 0)] * (arrays[name].ndim - 1) + [(0, missing)])
    return Trace(network=network, reference=reference, **scalars, **arrays)


def _check(trace: Trace, sha256: str) -> None:
    """Raise ValueError unless sizes, types and indices agree, so that pricing may index without looking."""
    network, n, n_layers = trace.network, trace.n_timesteps, len(trace.network.layers)
    table = (n_layers, len(counters.KERNEL_COLUMNS))
    expected = {"first": ((n,), "b"), "totals": (table, "i"), "first_totals": (table, "i"), "counts": ((n, *table), "i"),
                "input_counts": ((n,), "i"), "event_start": ((trace.n_recorded * len(network.senders) + 1,), "i")}
    for name, (shape, kind) in expected.items():
        array = getattr(trace, name)
        if array is None and name in ("counts", "input_counts"):
            continue
        if array.shape != shape or array.dtype.kind != kind:
            raise ValueError(f"{name} has shape {array.shape} and type {array.dtype}, expected {shape}")
    if network.sha256 != sha256:
        raise ValueError("the network is not the one whose hash is stored")
    if not (n > 0 and trace.timesteps_per_input > 0 and 0 <= trace.n_recorded <= n):
        raise ValueError(f"{trace.n_recorded} recorded of {n} timesteps, {trace.timesteps_per_input} per input")
    _check_events(trace)
    for part in network.outputs:
        if not 0 <= part.elements.min() <= part.elements.max() < network.layers[part.layer].n_neurons:
            raise ValueError("an output reads a neuron that does not exist")
    for layer in network.layers:
        for s in layer.synapses:
            if s.view is not None and s.view.max(initial=-1) >= network.size_of(s.source):
                raise ValueError(f"layer {layer.name!r} reads an element that does not exist")
            if s.view is None and s.n_cells != network.size_of(s.source):
                raise ValueError(f"layer {layer.name!r} reads {s.n_cells} elements of {network.size_of(s.source)}")


def _check_events(trace: Trace) -> None:
    start, element, senders = trace.event_start, trace.event_element, trace.network.senders
    if start[0] != 0 or start[-1] != element.size or (np.diff(start) < 0).any() or element.dtype not in (np.uint16, np.uint32):
        raise ValueError("the event record is not in order")
    n_sent = np.diff(start).reshape(-1, len(senders)) if start.size > 1 else np.zeros((0, len(senders)), np.int64)
    limit = np.array([trace.network.size_of(s) for s in senders])
    if element.size and (element >= np.repeat(np.tile(limit, len(n_sent)), n_sent.reshape(-1))).any():
        raise ValueError("an event of an element that does not exist")
    if trace.counts is not None and trace.input_counts is not None and len(n_sent):
        sent = [trace.input_counts if s == INPUT else trace.counts[:, s, counters.KERNEL_COLUMNS.index("events_out")] for s in senders]
        if not np.array_equal(n_sent, np.stack(sent, axis=1)[:len(n_sent)]):
            raise ValueError("events and counts disagree")


def _digest(header: dict[str, Any], payload: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(payload):
        a = np.asarray(payload[name], order="C")
        digest.update(f"{name}{a.dtype.str}{a.shape}".encode())
        digest.update(a.reshape(-1).data)
    return digest.hexdigest()
