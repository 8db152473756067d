"""The pages also stand in the repository, where they link to files beside docs/; on the site such links become plain text."""

import re

OUTSIDE = re.compile(r"\[([^\]]*)\]\(\.\./(?!docs/)[^)]*\)")


def on_page_markdown(markdown: str, **_: object) -> str:
    """`[text](../neurosim/x.py)` -> `text`."""
    return OUTSIDE.sub(r"\1", markdown)
