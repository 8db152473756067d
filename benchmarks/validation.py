"""Validation: published figures beside ours, with an honest verdict for each.

    python benchmarks/validation.py [--only PART ...] [--json FILE]

prints a table of every part and the headline, and writes all of it as JSON. docs/validation.md is made from
docs/figures/validation.json (python docs/generate.py). Comparisons: `validation_parts`; what a row says: `validation_rows`.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from validation_parts import MISSING, PARTS
from validation_rows import INDEPENDENCE, Row, headline, shown


def rows_of(names: Sequence[str]) -> list[Row]:
    """Compute the rows of some parts."""
    return [replace(row, part=name) for name in names for row in PARTS[name][1]()]


def document(rows: list[Row]) -> dict[str, Any]:
    """JSON data of a run."""
    return {"schema": "neurosim.validation/1", "parts": {name: PARTS[name][0] for name in dict.fromkeys(r.part for r in rows)},
            "independence": INDEPENDENCE, "headline": headline(rows), "rows": [row.to_json() for row in rows], "missing": list(MISSING)}


def table(rows: list[Row]) -> str:
    """Lines of one part."""
    lines = [f"\n{PARTS[rows[0].part][0]}", f"  {'':<78}{'target':>14}{'ours':>14}{'ratio':>9}  independence"]
    for row in rows:
        ratio = "-" if row.ratio is None else f"{row.ratio:.3g}"
        lines.append(f"  {row.what:<78}{shown(row.target, row.unit):>14}{shown(row.ours, row.unit):>14}{ratio:>9}  {row.independence}")
        lines.append(f"      {row.verdict}" + (f" [assumed: {row.assumes}]" if row.assumes else ""))
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", default=list(PARTS), help=", ".join(PARTS))
    parser.add_argument("--json", type=Path, help="write all figures there")
    given = parser.parse_args(arguments)
    rows = rows_of(given.only)
    for name in given.only:
        print(table([row for row in rows if row.part == name]))
    print("\nindependent rows:")
    for what, counts in headline(rows).items():
        print(f"  {what:<34}" + ", ".join(f"{n} {name}" for name, n in counts.items()))
    if given.json:
        given.json.write_text(json.dumps(document(rows), indent=2) + "\n")
        print(f"written to {given.json}")


if __name__ == "__main__":
    main()
