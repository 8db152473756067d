"""What kind of agent a Stable-Baselines3 archive holds: its member ``data``, JSON, read as text.

Stable-Baselines3 writes what JSON cannot hold as a base64 pickle in ``:serialized:`` and, beside it,
the members of the object as text (``:type:``, ``shape``, ``low``, ...). Only that text is looked at.
Source: stable_baselines3/common/save_util.py, `data_to_json` (2.9), and archives of 0.8 to 2.9.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurosim.errors import LoadError

MAX_DATA = 16 << 20
MAX_ENTRIES = 200_000
"""Brackets and commas in the JSON, so that its objects stay small (real archives have a few hundred)."""
MAX_ELEMENTS = 1 << 22
"""Of an observation or action."""

_ON_POLICY = ("stable_baselines3.common.policies", "sb3_contrib.common.recurrent.policies")


@dataclass(frozen=True, slots=True)
class Space:
    """A Gymnasium space as its archive describes it.

    Parameters
    ----------
    kind : str
        ``Box``, ``Discrete``, ...
    shape : tuple of int
    dtype : str
    n : int or None
        Actions of a Discrete space.
    low, high : str
        Bounds of a Box as printed by numpy, at least their first and last values.
    """

    kind: str
    shape: tuple[int, ...]
    dtype: str
    n: int | None
    low: str
    high: str

    @property
    def is_image(self) -> bool:
        """Bytes from 0 to 255 in three axes: what the policies divide by 255."""
        ends = all(set(re.findall(r"[\d.eE+-]*\d[\d.eE+-]*", t)) <= {v} for t, v in ((self.low, "0"), (self.high, "255")))
        return self.kind == "Box" and len(self.shape) == 3 and self.dtype == "uint8" and bool(self.low and self.high) and ends

    def bounds(self, where: str) -> tuple[np.ndarray, np.ndarray]:
        """Finite bounds of a Box, float64, each (elements,); printed with 8 digits.

        Raises
        ------
        LoadError
            When they cannot be read from the text, or are infinite.
        """
        n = math.prod(self.shape)
        found = []
        for name, text in (("low", self.low), ("high", self.high)):
            try:
                values = np.array(text.replace("[", " ").replace("]", " ").split(), np.float64)
            except ValueError:
                raise LoadError(f"{where}: bounds of actions cannot be read from {name} = {text[:60]!r}; save the agent again") from None
            values = np.repeat(values, n) if values.size == 1 else values
            if values.size != n or not np.isfinite(values).all():
                raise LoadError(f"{where}: the actions need {n} finite bounds to be scaled to, {name} = {text[:60]!r}")
            found.append(values)
        return found[0], found[1]


@dataclass(frozen=True, slots=True)
class AgentData:
    """What ``data`` says about the actor.

    Parameters
    ----------
    policy, module : str
        Name of the policy's class, and the module that defines it.
    policy_kwargs : dict
        Its keyword arguments; values that JSON cannot hold as text.
    observations, actions : Space
    normalised : bool or None
        Whether it was trained behind VecNormalize; None where ``data`` does not say.
    """

    policy: str
    module: str
    policy_kwargs: dict[str, Any]
    observations: Space
    actions: Space
    normalised: bool | None


def read_data(where: str, raw: bytes) -> AgentData:
    """Read the member ``data``.

    Raises
    ------
    LoadError
        When it is not JSON, too intricate, or lacks the policy's class or a space.
    """
    entries = sum(raw.count(c) for c in (b"[", b"{", b","))
    if entries > MAX_ENTRIES:
        raise LoadError(f"{where}: {entries:,} entries of JSON > limit {MAX_ENTRIES:,}; an agent's description has a few hundred")
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise LoadError(f"{where}: not JSON ({type(error).__name__}: {str(error)[:100]}); an agent is saved by model.save(...)") from None
    if not isinstance(data, dict):
        raise LoadError(f"{where}: a JSON object is needed; an agent is saved by model.save(...)")
    policy_class = _object(where, data, "policy_class")
    policy = re.match(r"<function (\w+)\.__init__ at", str(policy_class.get("__init__", "")))
    kwargs = data.get("policy_kwargs") or {}
    if policy is None or not isinstance(kwargs, dict):
        raise LoadError(f"{where}: the name of the policy's class is not readable in policy_class; own classes are not exported")
    return AgentData(
        policy=policy.group(1),
        module=str(policy_class.get("__module__", "")),
        policy_kwargs={k: v for k, v in kwargs.items() if k not in (":type:", ":serialized:")},
        observations=_space(where, data, "observation_space"),
        actions=_space(where, data, "action_space"),
        normalised=_normalised(data, str(policy_class.get("__module__", ""))),
    )


def _object(where: str, data: dict[str, Any], key: str) -> dict[str, Any]:
    value = data.get(key)
    if not isinstance(value, dict):
        raise LoadError(f"{where}: {key} is missing; an agent is saved by model.save(...) without exclude=[{key!r}]")
    return value


def _space(where: str, data: dict[str, Any], key: str) -> Space:
    text = _object(where, data, key)
    kind = re.search(r"\.(\w+)'>$", str(text.get(":type:", "")))
    shape = text.get("shape", text.get("_shape"))
    shape = [] if shape is None else shape
    if kind is None or not isinstance(shape, list) or not all(isinstance(n, int) and n > 0 for n in shape) or len(shape) > 8:
        raise LoadError(f"{where}: {key} is not readable (:type: {str(text.get(':type:'))[:60]!r}, shape {str(shape)[:60]})")
    if math.prod(shape) > MAX_ELEMENTS:
        raise LoadError(f"{where}: {key} of shape {str(tuple(shape))[:60]} has more than {MAX_ELEMENTS:,} elements")
    n = str(text.get("n", ""))
    return Space(
        kind=kind.group(1),
        shape=tuple(shape),
        dtype=str(text.get("dtype", "")),
        n=int(n) if n.isdigit() and len(n) < 9 else None,
        low=str(text.get("low", "")),
        high=str(text.get("high", "")),
    )


def _normalised(data: dict[str, Any], module: str) -> bool | None:
    """On-policy algorithms keep raw observations only beside normalised ones; the others always or never do."""
    if "_last_original_obs" not in data or module not in _ON_POLICY:
        return None
    return data["_last_original_obs"] is not None
