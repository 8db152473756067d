"""Blocks of a page: what a section is made of. Frozen data; ``page.html`` says how each kind looks.

Every printed figure keeps its exact value beside its text (`Cell.value`, `Tile.value`), so that tables
sort by value and a reader, or a test, can get the number itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from neurosim.units import show

if TYPE_CHECKING:
    from bokeh.models import Plot as Drawing


@dataclass(frozen=True, slots=True)
class Cell:
    """Text of a table cell, the value it stands for, and a share (0 to 1) that is drawn as a bar."""

    text: str
    value: float | int | None = None
    share: float | None = None


@dataclass(frozen=True)
class Table:
    """Rows of cells under sortable headers; `definitions` are listed below, on demand."""

    kind: ClassVar[str] = "table"
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    definitions: Mapping[str, str] = field(default_factory=dict)

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Which columns hold numbers."""
        return tuple(any(row[i].value is not None for row in self.rows) for i in range(len(self.columns)))


@dataclass(frozen=True, slots=True)
class Tile:
    """A key figure with its definition."""

    label: str
    text: str
    value: float | int | None
    definition: str


@dataclass(frozen=True)
class Tiles:
    """Key figures, side by side."""

    kind: ClassVar[str] = "tiles"
    tiles: tuple[Tile, ...]


@dataclass(frozen=True)
class Callout:
    """The sentence that a reader must not miss, with a link to the section that shows it."""

    kind: ClassVar[str] = "callout"
    text: str
    section: str = ""


@dataclass(frozen=True)
class Lines:
    """Sentences, as paragraphs or as a list."""

    kind: ClassVar[str] = "lines"
    lines: tuple[str, ...]
    listed: bool = False


@dataclass(frozen=True)
class Facts:
    """Names and values."""

    kind: ClassVar[str] = "facts"
    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Plot:
    """A Bokeh figure under a name of its own; `label` says in words what is drawn."""

    kind: ClassVar[str] = "plot"
    name: str
    label: str
    drawing: Drawing


@dataclass(frozen=True)
class Choice:
    """A native select; `key` is what ``page.js`` listens to."""

    key: str
    label: str
    options: tuple[tuple[str, str], ...]
    chosen: str = ""


@dataclass(frozen=True)
class Controls:
    """Selects, and a slider over `steps` positions where there is more than one."""

    kind: ClassVar[str] = "controls"
    choices: tuple[Choice, ...]
    slider: str = ""
    label: str = ""
    steps: int = 0


@dataclass(frozen=True)
class Sliders:
    """One slider and one number field per constant; ``page.js`` prices again from the section's data."""

    kind: ClassVar[str] = "sliders"
    what: str
    total: Cell
    rows: tuple[dict[str, Any], ...]


Block = Table | Tiles | Callout | Lines | Facts | Plot | Controls | Sliders


@dataclass(frozen=True)
class Section:
    """A part of the page: its anchor, heading, blocks, and the data that ``page.js`` works with."""

    key: str
    title: str
    blocks: Sequence[Block]
    data: Mapping[str, Any] = field(default_factory=dict)


def words(text: object) -> Cell:
    """A cell of text."""
    return Cell(str(text))


def number(value: float | int | None, share: float | None = None) -> Cell:
    """A count or a mean of counts."""
    if value is None:
        return Cell("not measured")
    return Cell(f"{value:,}" if isinstance(value, int) else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:,.4g}", value, share)


def quantity(value: float | None, unit: str, *, share: float | None = None, least: bool = False) -> Cell:
    """A quantity in SI units; `least` marks a lower bound."""
    return Cell("not published") if value is None else Cell(("≥ " if least else "") + show(value, unit), value, share)


def percent(share: float | None) -> Cell:
    """A share, with its bar."""
    return Cell("") if share is None else Cell(f"{share:.1%}", share, share)
