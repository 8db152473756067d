"""Energy of a run on the chip that a search is made for; a pruned network is mapped again."""

from __future__ import annotations

from neurosim.chip import Chip
from neurosim.errors import PricingError
from neurosim.mapping import compile
from neurosim.network import Network
from neurosim.pricing import price
from neurosim.program import Program
from neurosim.report import Report
from neurosim.trace import Trace


class Pricer:
    """Prices traces of one network with many thresholds, and of its pruned versions.

    Parameters
    ----------
    network : Network
        Mapped at once, so that what does not fit is said before anything runs.
    chip : Chip or None
        None prices nothing: effective MACs are the cost.

    Raises
    ------
    PricingError
        For a chip that does not run on events.
    """

    def __init__(self, network: Network, chip: Chip | None, hypothetical: bool = False) -> None:
        if chip is not None and chip.kind != "event":
            raise PricingError(f"{chip.name} is a {chip.kind} machine: thresholds change nothing there; choose an event chip")
        self.chip, self._hypothetical = chip, hypothetical
        self._program: Program | None = self._compiled(network)

    @property
    def record(self) -> str:
        """What a run must record to be priced."""
        return "none" if self.chip is None else "events"

    def report(self, trace: Trace) -> Report | None:
        """Price a run."""
        if self._program is None:
            return None
        if self._program.network_sha256 != trace.network.sha256:
            self._program = self._compiled(trace.network)
        return price(trace, self._program) if self._program else None

    def _compiled(self, network: Network) -> Program | None:
        return None if self.chip is None else compile(network, self.chip, hypothetical=self._hypothetical)
