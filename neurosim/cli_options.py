"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="ONNX, NIR or lava-dl .net file, architecture .yaml, or a folder with model.yaml.")
]
Inputs = Annotated[str, typer.Option("--inputs", metavar="X.npz[:key]", help="Array (timesteps, *input shape without batch).")]
Threshold = Annotated[
    float | None, typer.Option(help="One delta threshold for the input and every hidden layer (default 0, or the model card's).")
]
Thresholds = Annotated[Path | None, typer.Option(help="YAML file: one threshold per name, {input: t, LAYER: t}.")]
Numerics = Annotated[str, typer.Option(help="float32 or float64.")]
AnyNumerics = Annotated[str | None, typer.Option("--numerics", help="float32, float64 or fixed (default: the file's own, else float32).")]
Dt = Annotated[float | None, typer.Option("--dt", metavar="SECONDS", help="NIR: length of a timestep (default 1e-4).")]
Style = Annotated[
    str | None, typer.Option("--style", help="NIR: whose timesteps: nir, norse, lava, snntorch, nengo, rockpool, sinabs, spyx.")
]
InputSignal = Annotated[str | None, typer.Option("--input-signal", help="NIR: how the input transmits: delta, spike or graded.")]
ChipName = Annotated[str | None, typer.Option("--chip", metavar="C", help="Chip of the library or a .yaml file.")]
Hypothetical = Annotated[bool, typer.Option("--hypothetical", help="Allow graded events on a chip described for spikes only.")]
Setting = Annotated[list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Override a chip field; may be repeated.")]
Placement = Annotated[
    str, typer.Option("--placement", metavar="NAME|FILE", help="row_major, snake, greedy, quadratic, or a .yaml file with tiles.")
]
Balance = Annotated[bool, typer.Option("--balance", help="Cut layers so that the busiest core has least work in the profile.")]
PeriodOption = Annotated[str | None, typer.Option("--period", metavar="16.7ms", help="Control period.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print exactly one JSON document.")]
OutputName = Annotated[str | None, typer.Option("--output", metavar="NAME", help="Output of the model to run.")]
