"""Bokeh figures in one style: transparent, as wide as the page, text that can be read on light and on dark."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from neurosim.errors import LoadError
from neurosim.view.plots import PALETTE

if TYPE_CHECKING:
    from bokeh.plotting import figure

INK = "#7a7a7a"
"""Text and axes until ``page.js`` has read the colours of the page: grey that stands out from white and from black."""

OUTLINE = "#D55E00"
"""What is critical."""


def require_packages() -> None:
    """Raise LoadError where Bokeh or Jinja2 is not installed."""
    try:
        import bokeh  # noqa: F401
        import jinja2  # noqa: F401
    except ImportError as error:
        raise LoadError(f"reports need {error.name} (pip install 'neurosim-chip[report]')") from None


def new_figure(height: int, **options: Any) -> figure:
    """An empty figure in the style of the page."""
    from bokeh.plotting import figure

    options = {"tools": "", "toolbar_location": None} | options
    p = figure(sizing_mode="stretch_width", height=height, background_fill_color=None, border_fill_color=None, outline_line_color=None,
               min_border_right=20, **options)
    p.toolbar.logo = None
    for axis in p.axis:
        axis.update(major_label_text_color=INK, axis_label_text_color=INK, axis_line_color=INK, major_tick_line_color=INK,
                    minor_tick_line_color=None, axis_label_text_font_style="normal", axis_label_text_font_size="13px",
                    major_label_text_font_size="12px")
    for grid in p.grid:
        grid.update(grid_line_color=INK, grid_line_alpha=0.15)
    return p


def style_legend(p: figure, columns: int = 3) -> None:
    """Put the legend above the plot, without a box."""
    if not p.legend:
        return
    legend = p.legend[0]
    p.add_layout(legend, "above")
    legend.update(orientation="horizontal", location="left", ncols=columns, background_fill_alpha=0, border_line_color=None,
                  label_text_color=INK, label_text_font_size="12px", spacing=8, padding=4, margin=4, click_policy="hide")


def scale_of(largest: float, unit: str) -> tuple[float, str]:
    """Scale and prefixed unit in which the largest value of an axis is below 1,000."""
    if unit == "m2":
        return 1e-6, "mm2"
    for prefix, scale in (("f", 1e-15), ("p", 1e-12), ("n", 1e-9), ("u", 1e-6), ("m", 1e-3), ("", 1.0), ("k", 1e3), ("M", 1e6)):
        if largest < 1000 * scale:
            return scale, prefix + unit
    return 1e9, "G" + unit


def colour(i: int) -> str:
    """The i-th colour of the palette, which is safe for the colour-blind."""
    return PALETTE[i % len(PALETTE)]


def short(name: str, most: int = 22) -> str:
    """A name that fits beside a plot."""
    return name if len(name) <= most else name[: most // 2 - 1] + "…" + name[-(most // 2):]
