"""The folder of a study: everything in it is a file that appears only when it is whole, named by what it depends on.

    study.json          the study
    manifest.json       versions, digests, seeds, command
    runs/KEY.trace      a simulated run, and KEY.json its figures
    rows/KEY.parquet    a priced chunk
    table.parquet       all rows, in the order of the study, with `on_front`

A run or a chunk is done when its file is there: whoever is killed leaves nothing half done, whoever comes later goes on.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurosim.errors import LoadError
from neurosim.explore.pareto import grouped_front
from neurosim.explore.study.figures import INTEGERS, PRICE_FIGURES, RUN_FIGURES
from neurosim.explore.study.points import Chunk
from neurosim.explore.study.spec import Range, Study
from neurosim.whole_file import whole_file

if TYPE_CHECKING:
    import pyarrow


def arrow() -> Any:
    """pyarrow, with its Parquet part.

    Raises
    ------
    LoadError
        When it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise LoadError("studies keep their rows in Parquet files, which need pyarrow (pip install 'neurosim-chip[study]')") from None
    return pyarrow


class Store:
    """See the head of this file.

    Parameters
    ----------
    folder : str or Path
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def prepare(self, study: Study) -> None:
        """Make the folder, and write the study into it.

        Raises
        ------
        LoadError
            For a folder that holds something else, or cannot be written.
        """
        if self.folder.is_file() or self.folder.is_dir() and any(self.folder.iterdir()) and not (self.folder / "study.json").is_file():
            raise LoadError(f"{self.folder} is not the folder of a study: it holds something else; choose another -o")
        try:
            for name in ("runs", "rows", "yardsticks"):
                (self.folder / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LoadError(f"cannot write {self.folder}: {error.strerror}") from None
        self._write(self.folder / "study.json", study.model_dump_json(indent=1, exclude_unset=True))

    def keep_manifest(self, data: dict[str, Any]) -> None:
        """Write manifest.json."""
        self._write(self.folder / "manifest.json", json.dumps(data, indent=1, default=str))

    def study(self) -> Study:
        """The study of the folder.

        Raises
        ------
        LoadError
            For a folder of something else, or a study that cannot be read.
        """
        path = self.folder / "study.json"
        if not path.is_file():
            raise LoadError(f"{self.folder} is not the folder of a study: it holds no {path.name}; give the study's .yaml")
        try:
            return Study.model_validate_json(path.read_text())
        except (OSError, ValueError) as error:
            raise LoadError(f"{path}: not the study of a folder made by sweep ({error})") from None

    def trace_path(self, key: str) -> Path:
        """Where the trace of a run lies."""
        return self.folder / "runs" / f"{key}.trace"

    def is_done(self, task: Any) -> bool:
        """Whether the result of a run or a chunk is there."""
        return (self._rows_path(task.key) if isinstance(task, Chunk) else self._note_path("runs", task.key)).is_file()

    def _rows_path(self, key: str) -> Path:
        return self.folder / "rows" / f"{key}.parquet"

    def _note_path(self, kind: str, key: str) -> Path:
        return self.folder / kind / f"{key}.json"

    def keep_run(self, key: str, facts: dict[str, Any]) -> None:
        """Keep the figures of a run; its trace is there already."""
        self.keep_note("runs", key, facts)

    def run_facts(self, key: str) -> dict[str, Any]:
        """Figures of a run."""
        found = self.note("runs", key)
        if found is None:
            raise LoadError(f"{self.folder}: the run {key} is missing; start the sweep again")
        return found

    def note(self, kind: str, key: str) -> dict[str, Any] | None:
        """A JSON file of the folder, or None."""
        path = self._note_path(kind, key)
        return json.loads(path.read_text()) if path.is_file() else None

    def keep_note(self, kind: str, key: str, data: dict[str, Any]) -> None:
        """Write a JSON file of the folder."""
        self._write(self._note_path(kind, key), json.dumps(data))

    def _write(self, path: Path, text: str) -> None:
        with whole_file(path) as file:
            file.write(text.encode())

    def keep_rows(self, study: Study, key: str, rows: list[dict[str, Any]]) -> None:
        """Keep the rows of a chunk."""
        pa, schema = arrow(), schema_of(study)
        kinds = {name: str(schema.field(name).type) for name in schema.names}
        table = pa.Table.from_pylist([{name: plain(row.get(name), kind) for name, kind in kinds.items()} for row in rows], schema)
        with whole_file(self._rows_path(key)) as file:
            pa.parquet.write_table(table, file)

    def rows(self, chunks: Iterable[Chunk], columns: list[str] | None = None) -> Iterator[pyarrow.Table]:
        """Tables of the chunks, in their order."""
        pa = arrow()
        for chunk in chunks:
            yield pa.parquet.read_table(self._rows_path(chunk.key), columns=columns)

    def write_table(self, study: Study, chunks: list[Chunk]) -> int:
        """Write table.parquet: all rows, and whether each is on the front; returns how many rows there are."""
        pa = arrow()
        front = set(self._front(study, chunks))
        schema = schema_of(study).append(pa.field("on_front", pa.bool_()))
        n = 0
        with whole_file(self.folder / "table.parquet") as file, pa.parquet.ParquetWriter(file, schema) as writer:
            for table in self.rows(chunks):
                marks = pa.array([n + i in front for i in range(table.num_rows)], pa.bool_())
                writer.write_table(table.append_column(schema.field("on_front"), marks))
                n += table.num_rows
        return n

    def table(self) -> Iterator[dict[str, Any]]:
        """Rows of the finished table.

        Raises
        ------
        LoadError
            Where there is none.
        """
        path = self.folder / "table.parquet"
        if not path.is_file():
            raise LoadError(f"{self.folder} holds no finished table; run the sweep to its end")
        with arrow().parquet.ParquetFile(path) as file:
            for batch in file.iter_batches():
                yield from batch.to_pylist()

    def _front(self, study: Study, chunks: list[Chunk]) -> list[int]:
        """Rows of the front: those of equal coverage are ranked among each other, those that miss a constraint not at all."""
        bounds, priced = study.bounds(), bool(study.prices)
        wanted = list(dict.fromkeys([*study.objectives, *bounds, *(("not_priced", "fits") if priced else ())]))
        points: list[list[float | None]] = []
        groups: list[str | None] = []
        for table in self.rows(chunks, wanted):
            for row in table.to_pylist():
                ok = row.get("fits", True) and all(within(row[name], *ends) for name, ends in bounds.items())
                groups.append((row.get("not_priced") or "") if ok else None)
                values = [row[name] for name in study.objectives]
                points.append([None if v is None else -v if more else v for v, more in zip(values, study.maximised, strict=True)])
        return grouped_front(points, groups)


def within(value: float | None, least: float | None, largest: float | None) -> bool:
    """Whether a figure is known and keeps its bounds."""
    return value is not None and (least is None or value >= least) and (largest is None or value <= largest)


def schema_of(study: Study) -> pyarrow.Schema:
    """Columns of a study's rows: the axes, then the figures."""
    pa = arrow()
    fields = [pa.field(name, _type_of(axis)) for name, axis in study.axes.items()]
    figures = {**RUN_FIGURES, **(PRICE_FIGURES if study.prices else {})}
    fields += [pa.field(name, pa.int64() if name in INTEGERS else pa.float64()) for name in figures]
    if study.prices:
        fields += [pa.field("fits", pa.bool_()), pa.field("why_not", pa.string()), pa.field("complete", pa.bool_()),
                   pa.field("not_priced", pa.string())]
    return pa.schema(fields)


def _type_of(axis: Any) -> Any:
    """Whole numbers, numbers, or text where values are of several kinds."""
    pa = arrow()
    if isinstance(axis, Range):
        return pa.string() if axis.unit else pa.int64() if axis.integer else pa.float64()
    kinds = {type(value) for value in axis if value is not None}
    if kinds == {bool}:
        return pa.bool_()
    return pa.int64() if kinds == {int} else pa.float64() if kinds <= {int, float} and kinds else pa.string()


def plain(value: Any, kind: str) -> Any:
    """A value as a column of type `kind` holds it."""
    if value is None:
        return None
    return str(value) if kind == "string" else int(value) if kind == "int64" else float(value) if kind == "double" else bool(value)
