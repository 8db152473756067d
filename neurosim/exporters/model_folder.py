"""An actor as a model folder: policy.onnx, model.yaml, and the check that they say what the archive said."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from neurosim.errors import LoadError
from neurosim.exporters.graph import onnx_model
from neurosim.exporters.sb3_actor import Actor
from neurosim.exporters.steps import zero_states
from neurosim.loaders import load
from neurosim.model_card import read_card
from neurosim.whole_file import whole_file

if TYPE_CHECKING:
    import onnx

TOLERANCE = 1e-4
"""Largest accepted difference between the graph and its steps in float64, in units of the largest absolute output."""
N_CHECKS = 5
_KEYS = (
    "name", "description", "weights", "env", "action", "output", "thresholds", "baseline", "licence", "recipe", "sha256", "expected",
)  # fmt: skip


def write_folder(folder: Path, actor: Actor, card: dict[str, Any]) -> tuple[str, ...]:
    """Write a new model folder.

    Parameters
    ----------
    folder : Path
        Missing or empty.
    actor : Actor
    card : dict
        Entries of model.yaml besides weights, action, output and sha256.

    Returns
    -------
    tuple of str
        What was checked.

    Raises
    ------
    LoadError
        When the folder holds something or cannot be written, when the graph differs from the
        actor, or when the written folder does not load.
    """
    require_new(folder)
    model = onnx_model(actor)
    notes = [check_graph(actor, model)]
    data = model.SerializeToString()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LoadError(f"cannot write {folder}: {error.strerror}") from None
    written = {"weights": "policy.onnx", "action": actor.action, "output": actor.output, "sha256": hashlib.sha256(data).hexdigest()}
    entries = {key: {**card, **written}.get(key) for key in _KEYS}
    text = yaml.safe_dump(entries, sort_keys=False, width=120, allow_unicode=True)
    for name, content in (("policy.onnx", data), ("model.yaml", text.encode())):
        with whole_file(folder / name) as f:
            f.write(content)
    try:
        read_card(folder / "model.yaml")
        return (*notes, *load(folder).notes[-1:])
    except LoadError:
        for name in ("policy.onnx", "model.yaml"):
            (folder / name).unlink()
        folder.rmdir()
        raise


def require_new(folder: Path) -> None:
    """Refuse a folder that holds something, and a file in its place."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise LoadError(f"cannot write {folder}: it is {'a folder with something in it' if folder.is_dir() else 'a file'}; name a new one")


def check_graph(actor: Actor, model: onnx.ModelProto) -> str:
    """Compare the graph with the actor's steps in float64, on random and extreme observations; returns what was found.

    Recurrent actors go on from their own states. The judge is onnxruntime where it can be
    imported, else ``onnx.reference``.

    Raises
    ------
    LoadError
        When an output or state differs by more than `TOLERANCE` of the largest.
    """
    run, judge = _judge(model)
    rng, states, worst = np.random.default_rng(0), zero_states(actor.steps), 0.0
    outputs = [o.name for o in model.graph.output]
    for i in range(N_CHECKS):
        x = (rng.standard_normal(actor.input_shape) * 10.0 ** (i - 3)).astype(np.float32)
        if len(actor.input_shape) == 3:
            x = rng.integers(0, 256, actor.input_shape).astype(np.float32)
        expected, y = dict(states), x.astype(np.float64)
        for step in actor.steps:
            y = step.value(y, expected)
        expected[actor.output] = y
        found = dict(zip(outputs, run({"obs": x[None], **{k: v.astype(np.float32) for k, v in states.items()}})))
        for name in outputs:
            scale = float(np.abs(expected[name]).max()) or 1.0
            worst = max(worst, float(np.abs(found[name].ravel() - expected[name].ravel()).max()) / scale)
        states = {k: found[k.replace("_in", "_out")].astype(np.float64) for k in states}
    if not worst <= TOLERANCE:
        raise LoadError(f"the graph differs from the archive's weights by {worst:.2g} of the largest output > {TOLERANCE:g}; "
                        "please report this agent")
    return f"{judge} against the archive's weights in float64 on {N_CHECKS} inputs: largest difference {worst:.1e} of the largest output"


def _judge(model: onnx.ModelProto) -> tuple[Callable[[dict[str, np.ndarray]], list[Any]], str]:
    try:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level, options.intra_op_num_threads, options.inter_op_num_threads = 4, 1, 1
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return (lambda feeds: session.run(None, feeds)), "onnxruntime"
    except ImportError:
        from onnx.reference import ReferenceEvaluator

        evaluator = ReferenceEvaluator(model)
        return (lambda feeds: list(evaluator.run(None, feeds))), "onnx.reference"
