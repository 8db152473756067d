"""Tuned: the result of a search, its claim included. Frozen data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from neurosim.explore.tune.search import Measured, Trial
from neurosim.network import Network


@dataclass(frozen=True)
class Tested:
    """A candidate of the claim.

    Parameters
    ----------
    trial : Trial
    measured : Measured
        On the claim's seeds or inputs.
    reduction : dict
        Shares of the reduction on them (`Trace.reduction`), and agreement with the dense policy.
    proved : bool
    needed : int or None
        Episodes that would prove it with the score and the spread found; None where no number
        would, and on recorded inputs.
    """

    trial: Trial
    measured: Measured
    reduction: dict[str, Any]
    proved: bool
    needed: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "trial": self.trial.number,
            **self.measured.to_dict(),
            "reduction": self.reduction,
            "proved": self.proved,
            "episodes_needed": self.needed,
        }


@dataclass(frozen=True)
class Claim:
    """What was tested on seeds or inputs that no trial saw, and what may be said.

    Parameters
    ----------
    held_out : bool
        False where a search on recorded inputs was given none to hold out.
    confidence : float or None
        Of the intervals; None on recorded inputs.
    planned : int
        Candidates that would have been tested, had no test ended the claim.
    earlier : int
        Claims tested before on the same storage, each of which halved the error allowed.
    tested : tuple of Tested
        In the order of the tests. Scores: dearest first, until one fails. Recorded inputs: cheapest
        first, until one keeps the bound.
    statement : str
    facts : dict
        Seeds and returns, or digests of the inputs.
    """

    held_out: bool
    confidence: float | None
    planned: int
    earlier: int
    tested: tuple[Tested, ...]
    statement: str
    facts: dict[str, Any]

    @property
    def proved(self) -> Tested | None:
        """The cheapest candidate that was proved."""
        return next((t for t in reversed(self.tested) if t.proved), None)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "proved": self.proved is not None,
            "statement": self.statement,
            "held_out": self.held_out,
            "confidence": self.confidence,
            "candidates_planned": self.planned,
            "earlier_claims": self.earlier,
            "tested": [t.to_dict() for t in self.tested],
            **self.facts,
        }


@dataclass(frozen=True, repr=False)
class Tuned:
    """Result of `tune`.

    Parameters
    ----------
    network : Network
        The network that was tuned, as it was given.
    settings : dict
        Everything the search depends on: constraint, objective, environment or inputs, seeds.
    scales : dict
        Sender -> activation scale, the unit of the fractions.
    trials, front : tuple of Trial
        All, and those that no other beats in cost and in score or error, cheapest first.
    claim : Claim
    search : dict
        Sampler, versions; closed loop: returns of the dense and the random policy on the search seeds, and
        episodes in which an independent copy of the dense policy would be proved.
    """

    network: Network
    settings: dict[str, Any]
    scales: dict[str, float]
    trials: tuple[Trial, ...]
    front: tuple[Trial, ...]
    claim: Claim
    search: dict[str, Any]

    def __repr__(self) -> str:
        return f"Tuned({self.network.name!r}: {len(self.trials)} trials, {len(self.front)} on the front; {self.claim.statement})"

    @property
    def chosen(self) -> Trial | None:
        """The cheapest candidate whose claim is proved."""
        return self.claim.proved.trial if self.claim.proved else None

    @property
    def thresholds(self) -> dict[str, float] | None:
        """Sender -> threshold of the chosen setting."""
        return self.chosen.setting.thresholds if self.chosen else None

    @property
    def tuned_network(self) -> Network | None:
        """The network with the chosen thresholds, pruned where sparsity was searched."""
        return self.chosen.setting.apply(self.network) if self.chosen else None

    @property
    def before(self) -> Measured:
        """The search's first trial: every threshold 0, nothing pruned."""
        return self.trials[0].measured

    def to_dict(self) -> dict[str, Any]:
        """The document of ``tune --json`` (schema ``neurosim.tune/1``); the same bytes for the same seeds and machine."""
        network, total, chosen = self.network, self.network.static_total, self.chosen
        return {
            "schema": "neurosim.tune/1",
            "network": {
                "name": network.name,
                "sha256": network.sha256,
                "dense_macs": total("dense_macs"),
                "nonzero_macs": total("nonzero_macs"),
                "dense_macs_of_layers": {layer.name: row["dense_macs"] for layer, row in zip(network.layers, network.static_counts)},
            },
            **self.settings,
            "n_trials": len(self.trials),
            "search": self.search,
            "scales": self.scales,
            "chosen": chosen and {"trial": chosen.number, **asdict(chosen.setting)},
            "claim": self.claim.to_dict(),
            "before": self.before.to_dict(),
            "after": self.claim.proved and self.claim.proved.to_dict(),
            "front": [t.number for t in self.front],
            "trials": [t.to_dict() for t in self.trials],
        }

    def yaml(self) -> str:
        """The chosen thresholds as a file for ``--thresholds``; empty where nothing is proved."""
        import yaml

        if self.chosen is None:
            return ""
        lines = [f"# {self.network.name}: {self.claim.statement}"]
        if any(self.chosen.setting.sparsity.values()):
            lines.append(f"# for the network pruned by magnitude per layer: {self.chosen.setting.sparsity}")
        return "\n".join(lines) + "\n" + yaml.safe_dump(self.thresholds, sort_keys=False)
