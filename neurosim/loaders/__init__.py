"""File -> Network. `load` looks at the file, not only at its name, and hands it to the module of its format."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from neurosim.errors import LoadError
from neurosim.loaders.hdf5_file import is_hdf5
from neurosim.network import Network

if TYPE_CHECKING:
    from neurosim.model_card import ModelCard

__all__ = ["load"]


def load(path: str | Path, *, output: str | None = None, input_shape: Sequence[int] | None = None, dt: float | None = None,
         style: str | None = None, input_signal: str | None = None) -> Network:
    """Load a trained network.

    Parameters
    ----------
    path : path
        An ``.onnx`` file, a NIR file (``.nir``), a lava-dl network (``.net``), an architecture file (``.yaml`` with `layers`, see
        `neurosim.loaders.architecture`), a ``model.yaml`` (with `weights` and no `layers`), or a
        folder that contains one; the network then has the card's name.
    output : str, optional
        Which output to keep (ONNX); default: action*, logits, q_values, else the first.
    input_shape : sequence of int, optional
        Without batch; where an ONNX file leaves it open.
    dt, style, input_signal : optional
        Of NIR files: seconds per timestep, how a timestep is taken, how the input transmits (see `neurosim.loaders.nir.load_nir`).

    Returns
    -------
    Network
        Thresholds are 0; `neurosim.set_thresholds` sets them.

    Raises
    ------
    LoadError
        With everything that is refused, and what would help.
    """
    path = Path(path)
    if path.is_dir():
        path = _in_folder(path)
    if path.suffix in (".yaml", ".yml"):
        return _load_yaml(path, output, input_shape)
    if path.suffix in (".safetensors", ".npz"):
        from neurosim.loaders.refuse import check_size

        check_size(path)
        raise LoadError(f"{path}: weights without an architecture; write a YAML file with `input`, `weights: {path.name}` and "
                        "`layers` beside it and load that (see neurosim.loaders.architecture)")
    if is_hdf5(path):
        return _load_hdf5(path, dt, style, input_signal)
    from neurosim.loaders.onnx_file import load_onnx

    return load_onnx(path, output, None if input_shape is None else tuple(input_shape))


def _load_hdf5(path: Path, dt: float | None, style: str | None, input_signal: str | None) -> Network:
    """NIR or lava-dl, by what the file holds."""
    from neurosim.loaders.hdf5_file import read_hdf5
    from neurosim.loaders.netx import load_netx
    from neurosim.loaders.nir import load_nir

    members = read_hdf5(path)
    if "node" in members:
        return load_nir(path, dt, style or "nir", input_signal)
    if "layer" in members:
        return load_netx(path)
    raise LoadError(f"{path}: an HDF5 file that is neither NIR ('node') nor a lava-dl network ('layer'); "
                    "from Keras: model.export('policy.onnx', format='onnx')")


def _in_folder(folder: Path) -> Path:
    """model.yaml of a folder, else its only ONNX file."""
    if (folder / "model.yaml").is_file():
        return folder / "model.yaml"
    models = sorted(folder.glob("*.onnx"))
    if len(models) != 1:
        raise LoadError(f"{folder}: no model.yaml, and {len(models)} ONNX files; name the file")
    return models[0]


def _load_yaml(path: Path, output: str | None, input_shape: Sequence[int] | None) -> Network:
    from neurosim.loaders.refuse import check_magic
    from neurosim.model_card import read_card
    from neurosim.strict_yaml import StrictYamlError, read_file

    check_magic(path)
    try:
        data, _ = read_file(path)
    except StrictYamlError as error:
        raise LoadError(str(error)) from None
    if not isinstance(data, dict) or not ({"layers", "weights"} & data.keys()):
        raise LoadError(f"{path}: neither an architecture file (`input`, `weights`, `layers`) nor a model.yaml (`name`, `weights`)")
    if "layers" in data:
        from neurosim.loaders.architecture import load_architecture

        return load_architecture(path)
    card = read_card(path)
    weights = _weights_of(path, card)
    if card.sha256 is not None and weights.is_file() and hashlib.sha256(weights.read_bytes()).hexdigest() != card.sha256:
        raise LoadError(f"{weights}: not the file that {path} describes: sha256 differs")
    network = load(weights, output=output or card.output, input_shape=input_shape)
    return replace(network, name=card.name)


def _weights_of(path: Path, card: ModelCard) -> Path:
    """The weights file that a model.yaml names; it lies in the same folder."""
    weights = path.parent / card.weights
    if not weights.resolve().is_relative_to(path.parent.resolve()) or weights.suffix not in (".onnx", ".yaml", ".yml") \
            or weights.resolve() == path.resolve():
        raise LoadError(f"{path}: weights: {card.weights!r} must be an .onnx or architecture .yaml file in the same folder")
    return weights
