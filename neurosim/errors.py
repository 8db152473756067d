"""Exceptions: every refusal says what, where, which figure against which limit, and what would help.

Each class carries the exit code that the command line returns for it: 1 is a constraint that is
not met, 2 is bad input, 3 is "does not fit".
"""

from __future__ import annotations


class NeurosimError(Exception):
    """Base of all errors that are the user's to mend; its text is the whole message."""

    exit_code = 2


class LoadError(NeurosimError):
    """A model, input or trace file cannot be understood or is refused."""


class ChipError(NeurosimError):
    """A chip description is invalid; every problem is listed with file, line and column."""


class MappingError(NeurosimError):
    """A network cannot be mapped onto a chip, or a mapping is inconsistent."""


class DoesNotFit(MappingError):
    """The network exceeds a resource of the chip: demand, limit, and the levers that would help."""

    exit_code = 3


class SimulationError(NeurosimError):
    """Inputs, thresholds or options of a run are invalid for this network or environment."""


class PricingError(NeurosimError):
    """A trace cannot be priced on this chip."""


class NotProved(NeurosimError):
    """A stated constraint is not met, or so few episodes cannot prove it; says how many would."""

    exit_code = 1
