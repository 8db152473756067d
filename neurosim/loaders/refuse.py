"""What a file really is, by its first bytes; formats that are not opened get the line that converts them."""

from __future__ import annotations

from pathlib import Path

from neurosim.errors import LoadError

MAX_BYTES = 2 << 30

_EXPORT = "torch.onnx.export(policy.eval(), torch.zeros(1, *shape), 'policy.onnx', input_names=['obs'], output_names=['action'])"
_TO_SAFETENSORS = ("import torch, safetensors.torch as s; "
                   "s.save_file(torch.load('{name}', weights_only=True), 'weights.safetensors')")


def read_bytes(path: Path) -> bytes:
    """Contents of a model file.

    Raises
    ------
    LoadError
        When the file is missing, empty, too large, a Git LFS pointer, or a format that is
        refused (pickle, torch or Stable-Baselines3 archive, TorchScript, Keras).
    """
    check_magic(path)
    return path.read_bytes()


def check_size(path: Path) -> bytes:
    """Refuse missing, empty and too large files and Git LFS pointers; returns the first bytes."""
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise LoadError(f"{path}: not a regular file")
        with path.open("rb") as f:
            head = f.read(4096)
    except OSError as error:
        raise LoadError(f"{path}: {error.strerror or error}") from None
    if size == 0:
        raise LoadError(f"{path}: file is empty (0 bytes); export or download it again")
    if size > MAX_BYTES:
        raise LoadError(f"{path}: {size:,} bytes > limit {MAX_BYTES:,}")
    if head.startswith(b"version https://git-lfs"):
        raise LoadError(f"{path}: this is a Git LFS pointer, not the file itself; run `git lfs pull`")
    return head


def check_magic(path: Path) -> None:
    """Refuse by size and first bytes; see `read_bytes`."""
    head = check_size(path)
    if head.startswith(b"PK\x03\x04"):
        _refuse_zip(path)
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05":
        raise LoadError(f"{path}: a pickle, which can run code when opened and is never read here; convert its weights: "
                        + _TO_SAFETENSORS.format(name=path.name))
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        raise LoadError(f"{path}: an HDF5 file where another format is expected (NIR and lava-dl files are loaded by themselves); from "
                        "Keras: model.export('policy.onnx', format='onnx')")
    if head[4:8] == b"TFL3":
        raise LoadError(f"{path}: a TFLite file, which is not read; python -m tf2onnx.convert --tflite {path.name} --output policy.onnx")


def _refuse_zip(path: Path) -> None:
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()[:1000]
    except zipfile.BadZipFile:
        raise LoadError(f"{path}: a truncated zip archive ({path.stat().st_size:,} bytes)") from None
    if any(n.endswith(".npy") for n in names):
        raise LoadError(f"{path}: an npz archive of weights; name it in an architecture file (`weights: {path.name}`) and load that")
    if any(n.endswith(("model.weights.h5", "config.json")) for n in names):
        raise LoadError(f"{path}: a Keras archive, which is not read; in Keras: model.export('policy.onnx', format='onnx')")
    if any("/code/" in n or n.endswith("constants.pkl") for n in names):
        raise LoadError(f"{path}: a TorchScript archive (contains pickles), which is not read; in torch: "
                        f"policy = torch.jit.load({path.name!r}); {_EXPORT}")
    if {"data", "policy.pth"} <= set(names):
        raise LoadError(f"{path}: a Stable-Baselines3 agent (contains pickles), which is not read here; convert it once: "
                        f"neurosim export sb3 {path.name} -o FOLDER")
    raise LoadError(f"{path}: an archive of torch.save (contains pickles), which is not read; export to ONNX: {_EXPORT}; "
                    "a bare state_dict: " + _TO_SAFETENSORS.format(name=path.name)
                    + ", and describe its layers in a YAML file beside it (see neurosim.loaders.architecture)")
