"""One HTML file out of sections: style, scripts, Bokeh and data stand inside, and nothing is fetched.

A content security policy names the two scripts of the page by their digests, so that a browser runs
nothing else and opens no connection, whatever a layer is called.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from neurosim.version import __version__
from neurosim.view.page.blocks import Plot, Section
from neurosim.view.page.figures import require_packages

FOLDER = Path(__file__).parent


def document(title: str, subtitle: str, sections: Sequence[Section]) -> str:
    """The whole file as text.

    Parameters
    ----------
    title, subtitle : str
        Heading, and the line below it that says what kind of figures these are.
    sections : sequence of Section
        Plots in them must have names of their own.

    Raises
    ------
    LoadError
        When Bokeh or Jinja2 is not installed.
    """
    require_packages()
    from bokeh.resources import Resources
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    data: dict[str, Any] = {"plots": _plots(sections)}
    for section in sections:
        data |= section.data
    bokeh_js = _script("\n".join(Resources(mode="inline", components=["bokeh"], minified=True).js_raw))
    page_js = (FOLDER / "page.js").read_text(encoding="utf-8")
    environment = Environment(loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
                              lstrip_blocks=True)
    return environment.get_template("page.html").render(
        title=title, subtitle=subtitle, sections=sections, version=__version__, css=(FOLDER / "page.css").read_text(encoding="utf-8"),
        bokeh_js=bokeh_js, page_js=page_js, digests=[_digest(bokeh_js), _digest(page_js)], data=embedded_json(data))


def embedded_json(data: Any) -> str:
    """JSON that can stand inside a script element: no character of it ends the element. NaN and infinity are null."""
    text = json.dumps(_finite(data), separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    if isinstance(value, float) and value - value != 0:
        return None
    return value


def _plots(sections: Sequence[Section]) -> list[Any]:
    """What Bokeh needs to draw each plot into the element of its name."""
    from bokeh.embed import json_item

    return [json_item(block.drawing, f"plot-{block.name}") for section in sections for block in section.blocks if isinstance(block, Plot)]


def _script(text: str) -> str:
    """A library's script, fit to stand inside a script element."""
    return text.replace("</script", "<\\/script")


def _digest(text: str) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
