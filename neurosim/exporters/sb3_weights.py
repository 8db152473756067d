"""Parts of a network out of named weights; what has been taken is remembered, so that nothing is left unnoticed."""

from __future__ import annotations

import re

import numpy as np

from neurosim.errors import LoadError
from neurosim.exporters.steps import Activation, Convolution, Flatten, Full, Lstm, Step

NATURE_STRIDES = (4, 2, 1)
"""Strides of NatureCNN's three convolutions (Mnih et al. 2015); weights do not say them."""


class Weights:
    """Named weights of a policy.

    Parameters
    ----------
    where : str
        What errors call the archive.
    parameters : dict of str to ndarray
    """

    def __init__(self, where: str, parameters: dict[str, np.ndarray]) -> None:
        self.where, self._parameters = where, parameters
        self._used: set[str] = set()

    def has(self, prefix: str) -> bool:
        """Whether any name starts so."""
        return any(name.startswith(prefix) for name in self._parameters)

    @property
    def n_used(self) -> int:
        """Elements taken."""
        return sum(self._parameters[name].size for name in self._used)

    def refuse_rest(self, others: str) -> None:
        """Refuse parameters that were not taken and whose names do not start as `others` (a pattern) says."""
        rest = [n for n in self._parameters if n not in self._used and not re.match(others, n)]
        if rest:
            shown = ", ".join(f"{n[:60]} {self._parameters[n].shape}" for n in rest[:5])
            raise LoadError(f"{self.where}: {len(rest)} parameters have no place in this policy's actor: {shown}; "
                            "changed policies are not exported (torch.onnx.export of the actor itself may work)")

    def _take(self, name: str, axes: int) -> np.ndarray:
        if name not in self._parameters:
            near = [n for n in self._parameters if n.startswith(name.rsplit(".", 1)[0])][:5]
            raise LoadError(f"{self.where}: parameter {name!r} is missing (near it: {', '.join(near) or 'none'})")
        value = self._parameters[name]
        if value.ndim != axes or 0 in value.shape or value.dtype.kind != "f" or not np.isfinite(value).all():
            raise LoadError(f"{self.where}: parameter {name!r} of shape {value.shape} and type {value.dtype}: "
                            f"{axes} axes of finite floats are needed")
        self._used.add(name)
        return value

    def _bias(self, name: str, n: int) -> np.ndarray | None:
        if name not in self._parameters:
            return None
        bias = self._take(name, 1)
        if len(bias) != n:
            raise LoadError(f"{self.where}: parameter {name!r} has {len(bias)} elements, its weights {n} rows")
        return bias

    def full(self, prefix: str) -> Full:
        """``prefix.weight``, ``prefix.bias`` of a torch Linear."""
        weight = self._take(f"{prefix}.weight", 2)
        return Full(prefix, weight, self._bias(f"{prefix}.bias", len(weight)))

    def mlp(self, prefix: str, activation: str) -> list[Step]:
        """Linear layers ``prefix.0``, ``prefix.2``, ... with activations between them."""
        found = sorted({int(m.group(1)) for n in self._parameters if (m := re.match(re.escape(prefix) + r"\.(\d{1,3})\.", n))})
        if found != list(range(0, 2 * len(found), 2)):
            raise LoadError(f"{self.where}: {prefix} has modules {found} with weights; linear layers and activations in turn "
                            f"would be {list(range(0, 2 * len(found), 2))}")
        steps: list[Step] = []
        for i in found:
            steps += [*([Activation(activation)] if steps else []), self.full(f"{prefix}.{i}")]
        if not steps and prefix.split(".")[0] != "mlp_extractor" and not prefix.endswith("latent_pi"):
            raise LoadError(f"{self.where}: parameter '{prefix}.0.weight' is missing")
        return steps

    def hidden(self, prefix: str, activation: str) -> list[Step]:
        """`mlp` with an activation behind its last layer too; nothing where there are no layers."""
        steps = self.mlp(prefix, activation)
        return [*steps, Activation(activation)] if steps else []

    def nature_cnn(self, prefix: str) -> list[Step]:
        """NatureCNN: three convolutions (kernels 8, 4, 3; strides 4, 2, 1), flattening, a linear layer; ReLU behind each."""
        steps: list[Step] = []
        for i, stride, kernel in zip((0, 2, 4), NATURE_STRIDES, (8, 4, 3)):
            name = f"{prefix}.cnn.{i}"
            weight = self._take(f"{name}.weight", 4)
            if weight.shape[2:] != (kernel, kernel):
                raise LoadError(f"{self.where}: {name} has kernels of {weight.shape[2:]}, NatureCNN's are {kernel} x {kernel}; "
                                "other convolutions are not exported: their strides are not in the archive")
            steps += [Convolution(name, weight, self._bias(f"{name}.bias", len(weight)), stride), Activation("relu")]
        return [*steps, Flatten(), self.full(f"{prefix}.linear.0"), Activation("relu")]

    def lstm(self, prefix: str) -> list[Step]:
        """Layers of a torch LSTM, each one timestep."""
        n_layers = 0
        while f"{prefix}.weight_ih_l{n_layers}" in self._parameters:
            n_layers += 1
        steps: list[Step] = []
        for i in range(n_layers):
            w, r = (self._take(f"{prefix}.weight_{kind}_l{i}", 2) for kind in ("ih", "hh"))
            if r.shape != (len(w), len(w) // 4) or len(w) % 4:
                raise LoadError(f"{self.where}: layer {i} of {prefix} has weights {w.shape} and {r.shape}; "
                                "those of an LSTM are (4 n, inputs) and (4 n, n)")
            b_input, b_state = (self._bias(f"{prefix}.bias_{kind}_l{i}", len(w)) for kind in ("ih", "hh"))
            zeros = np.zeros(len(w), np.float32)
            suffix, name = ("", prefix) if n_layers == 1 else (f"_{i}", f"{prefix}_{i}")
            steps.append(Lstm(name, suffix, w, r, zeros if b_input is None else b_input, zeros if b_state is None else b_state))
        return steps
