"""The model card, `model.yaml` of a folder in models/: which weights, which environment, what to expect."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from neurosim import strict_yaml
from neurosim.errors import LoadError


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Environment(_Strict):
    """Gymnasium environment of a policy."""

    id: str
    kwargs: dict[str, Any] = {}
    preprocess: Literal["atari", "atari_fire", "time_feature"] | None = None


class Expected(_Strict):
    """Return of the dense policy over `episodes` episodes, seeds seed, seed + 1, ...; 95 % interval."""

    episodes: int
    seed: int
    mean_return: float
    ci95: tuple[float, float]
    random_mean_return: float | None = None


Threshold = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class ModelCard(_Strict):
    """Contents of a model.yaml.

    Parameters
    ----------
    weights, baseline : str
        Files beside the card; `baseline` is the network of the dense policy, if another (a file
        beside the card, or another model folder: ``../NAME``).
    action : {"argmax", "clip", "identity"}
    output : str or None
        Output of the weights file to run.
    thresholds : float, mapping or None
        Recommended thresholds (in the file: values, or the name of a YAML file beside the card); a
        run without thresholds of its own uses 0.
    """

    name: str
    description: str = ""
    weights: str
    env: Environment | None = None
    action: Literal["argmax", "clip", "identity"] | None = None
    output: str | None = None
    thresholds: Threshold | dict[str, Threshold] | None = None
    baseline: str | None = None
    licence: str = ""
    recipe: str = ""
    sha256: str | None = None
    expected: Expected | None = None

    def baseline_in(self, folder: Path) -> Path | None:
        """The baseline of a card in `folder`: a file there, or a folder beside it.

        Raises
        ------
        LoadError
            For a path that leads elsewhere.
        """
        if self.baseline is None:
            return None
        if not (folder / self.baseline).resolve().is_relative_to(folder.resolve().parent):
            raise LoadError(f"{folder}: baseline {self.baseline!r} must lie in the folder of the model card or beside it")
        return folder / self.baseline


def read_card(path: Path) -> ModelCard:
    """Read a model.yaml.

    Raises
    ------
    LoadError
        Naming every unknown, missing or wrong key with line and column.
    """
    try:
        data, positions = strict_yaml.read_file(path)
        if isinstance(data, dict) and isinstance(data.get("thresholds"), str):
            data = {**data, "thresholds": strict_yaml.read_file(path.parent / Path(data["thresholds"]).name)[0]}
        return ModelCard.model_validate(data)
    except strict_yaml.StrictYamlError as error:
        raise LoadError(str(error)) from None
    except OSError as error:
        raise LoadError(f"{error.filename or path}: {error.strerror}") from None
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            where = tuple(problem["loc"])
            while where and where not in positions:
                where = where[:-1]
            line, column = positions.get(where, (1, 1))
            lines.append(f"{path}:{line}:{column}: {'.'.join(map(str, problem['loc']))}: {problem['msg']}")
        raise LoadError("\n".join(lines)) from None
