"""Recorded inputs as a task of `tune`: error of the outputs against the dense run."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurosim import dense
from neurosim.errors import SimulationError
from neurosim.explore.tune.pricer import Pricer
from neurosim.explore.tune.search import Measured, Progress, Trial, measured
from neurosim.explore.tune.space import evenly, sample_size
from neurosim.network import Network
from neurosim.simulation import simulate


@dataclass(frozen=True)
class Stream:
    """Inputs in order, (inputs, *network.input.shape), and where episodes start, bool (inputs,) or None."""

    inputs: np.ndarray
    resets: np.ndarray | None = None

    @property
    def sha256(self) -> str:
        """Digest of values, type and resets."""
        x = np.ascontiguousarray(self.inputs)
        digest = hashlib.sha256(f"{x.dtype.str}{x.shape}".encode())
        digest.update(x.tobytes())
        if self.resets is not None:
            digest.update(np.asarray(self.resets).astype(np.bool_).tobytes())
        return digest.hexdigest()


class ErrorTask:
    """Minimise the cost of a run while its outputs stay near those of the dense run.

    Equations: error = ||Y - Y_dense|| / ||Y_dense|| over all inputs and outputs before the decoder,
    Euclidean; agreement = share of inputs with the same argmax.

    Parameters
    ----------
    network, baseline : Network
        To be tuned; of the dense run.
    stream, claim : Stream
        Of the trials; of the claim (None: nothing is claimed beyond the inputs of the search).
    max_error, min_agreement : float or None
        At least one of them.

    Raises
    ------
    SimulationError
        Without a bound, for one out of range, for inputs that do not fit, and for a claim on the
        inputs of the search.
    """

    better = "minimize"

    def __init__(
        self,
        network: Network,
        baseline: Network,
        stream: Stream,
        claim: Stream | None = None,
        *,
        max_error: float | None = None,
        min_agreement: float | None = None,
        numerics: str = "float32",
        candidates: int = 5,
        workers: int = 1,
        pricer: Pricer,
    ) -> None:
        _check_bounds(max_error, min_agreement, candidates)
        self.network, self.baseline, self.max_error, self.min_agreement = network, baseline, max_error, min_agreement
        self.numerics, self.candidates, self.workers, self._pricer, self.claim = numerics, candidates, workers, pricer, claim
        self.stream = stream
        if network.output_shape != baseline.output_shape:
            raise SimulationError(f"outputs have shape {network.output_shape}, those of the baseline {baseline.output_shape}")
        if claim is not None and claim.sha256 == stream.sha256:
            raise SimulationError("the claim's inputs are those of the search: a claim needs inputs that no trial saw")
        self._dense = {id(s): dense_outputs(baseline, s, what) for s, what in ((stream, "inputs"), (claim, "claim inputs")) if s}

    @property
    def settings(self) -> dict[str, Any]:
        """What trials depend on."""
        return {
            "constraint": {"kind": "error", "max_error": self.max_error, "min_agreement": self.min_agreement},
            "inputs": {"sha256": self.stream.sha256, "n": len(self.stream.inputs)},
            "numerics": self.numerics,
        }

    def observations(self) -> np.ndarray:
        """Evenly spaced inputs of the search."""
        return evenly(self.stream.inputs, sample_size(self.network))

    def measure(self, network: Network, progress: Progress) -> Measured:
        """Run the inputs of the search."""
        return self._run(network, self.stream, "none")[0]

    def measure_claim(self, network: Network) -> tuple[Measured, dict[str, Any]]:
        """Run the inputs of the claim (of the search where there are none), with the shares of the reduction."""
        return self._run(network, self.claim or self.stream, "auto")

    def shortfall(self, run: Measured) -> float:
        """How far error or agreement miss their bound."""
        misses = [run.value - self.max_error] if self.max_error is not None else []
        if self.min_agreement is not None and run.agreement is not None:
            misses.append(self.min_agreement - run.agreement)
        return max(misses)

    def chosen_candidates(self, front: list[Trial]) -> list[Trial]:
        """The cheapest settings of the front that keep the bounds."""
        return [t for t in front if self.shortfall(t.measured) <= 0][: self.candidates]

    def _run(self, network: Network, stream: Stream, reference: str) -> tuple[Measured, dict[str, Any]]:
        trace = simulate(network, stream.inputs, numerics=self.numerics, resets=stream.resets, record=self._pricer.record,
                         reference=reference, workers=self.workers)
        assert trace.outputs is not None  # kept by default
        wanted = self._dense[id(stream)]
        outputs = np.asarray(trace.outputs, np.float64).reshape(wanted.shape)
        error = float(np.linalg.norm(outputs - wanted) / np.linalg.norm(wanted))
        agreement = float((outputs.argmax(axis=1) == wanted.argmax(axis=1)).mean())
        value = error if self.max_error is not None else 1 - agreement
        run = measured(trace, self._pricer.report(trace), value, agreement=agreement)
        return run, {**trace.reduction(), "error": error, "agreement": agreement}


def dense_outputs(baseline: Network, stream: Stream, what: str) -> np.ndarray:
    """Outputs of the dense float64 run before the decoder, float64 (inputs, outputs).

    Raises
    ------
    SimulationError
        For inputs that do not fit, and outputs that are not finite or all 0.
    """
    shape = baseline.input.shape
    if stream.inputs.shape[1:] != shape or len(stream.inputs) == 0 or stream.inputs.dtype.kind not in "buif":
        wanted = f"numbers of shape (timesteps, {', '.join(map(str, shape))})"
        raise SimulationError(f"{what} have shape {stream.inputs.shape} ({stream.inputs.dtype}): expected {wanted}")
    run, resets = dense.Stream(baseline), stream.resets
    parts = [run.run(stream.inputs[part], None if resets is None else resets[part])[2]
             for part in dense.chunks(baseline, len(stream.inputs))]
    outputs = np.concatenate(parts).reshape(len(stream.inputs), -1)
    if not np.isfinite(outputs).all():
        raise SimulationError(f"the dense run's outputs on the {what} are not finite; check the inputs")
    if not outputs.any():
        raise SimulationError(f"the dense run's outputs on the {what} are all 0: no relative error is defined")
    return outputs


def _check_bounds(max_error: float | None, min_agreement: float | None, candidates: int) -> None:
    if max_error is None and min_agreement is None:
        raise SimulationError("recorded inputs need a bound: --max-error 0.02 (relative), --min-agreement 0.99 (same argmax), or both")
    if max_error is not None and not 0 < max_error < float("inf"):
        raise SimulationError(f"a largest error of {max_error:g} is not a number above 0")
    if min_agreement is not None and not 0 < min_agreement <= 1:
        raise SimulationError(f"an agreement of {min_agreement:g} is outside (0, 1]")
    if candidates < 1:
        raise SimulationError(f"{candidates} candidates; at least 1 is needed")
