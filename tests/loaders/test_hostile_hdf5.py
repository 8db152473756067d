"""HDF5 files that mean harm, or are broken: each one message, quickly, with nothing read outside and nothing large allocated."""

import resource
import time

import numpy as np
import pytest

from neurosim.errors import LoadError
from neurosim.loaders import load
from neurosim.loaders.hdf5_file import MAX_MEMBERS, read_hdf5

h5py = pytest.importorskip("h5py")
WITHIN_S = 2.0


def netx(path, **changes):
    """A small lava-dl network: input, convolution, flatten, dense; fields of blocks replaced or (None) left out."""
    rng = np.random.default_rng(0)
    sdnn = {"type": "SDNN", "vThMant": 3, "activation": "relu"}
    blocks = [
        {"type": "input", "shape": np.array([1, 5, 5]), "neuron": {**sdnn, "vThMant": 0}},
        {"type": "conv", "shape": np.array([2, 3, 3]), "weight": rng.integers(-9, 9, (2, 1, 3, 3)).astype(np.float32), "kernelSize": np.array([3, 3]),
         "stride": np.array([1, 1]), "padding": np.array([0, 0]), "dilation": np.array([1, 1]), "groups": 1,
         "bias": np.array([1.0, 2.0]), "neuron": sdnn},
        {"type": "flatten", "shape": np.array([18])},
        {"type": "dense", "shape": np.array([3]), "inFeatures": 18, "outFeatures": 3,
         "weight": rng.integers(-9, 9, (3, 18)).astype(np.float32), "neuron": {**sdnn, "sigma_output": True}}]
    for key, value in changes.items():
        number, *names = key.strip("_").split("__")
        place = blocks[int(number)]
        for name in names[:-1]:
            place = place[name]
        if value is None:
            del place[names[-1]]
        else:
            place[names[-1]] = value
    with h5py.File(path, "w") as file:
        for i, block in enumerate(blocks):
            group = file.create_group(f"layer/{i}")
            for name, value in block.items():
                if isinstance(value, dict):
                    inner = group.create_group(name)
                    for k, v in value.items():
                        inner[k] = v
                else:
                    group[name] = np.array([value], "S10") if name == "type" else value
    return path


def refused(path, message):
    began, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(LoadError, match=message):
        load(path)
    assert time.process_time() - began < WITHIN_S
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kB


def test_the_good_one_loads(tmp_path):
    network = load(netx(tmp_path / "m.net"))
    assert [layer.kind for layer in network.layers] == ["convolution", "full"] and network.thresholds == {"input": 0, "1": 3 << 12}


@pytest.mark.parametrize(("changes", "message"), [
    ({"_1__type": "deconv"}, "type 'deconv' is not supported"),
    ({"_1__weight": None}, "has no weight"),
    ({"_1__weight": np.full((2, 1, 3, 3), 0.5, np.float32)}, "weight holds values that are not whole numbers"),
    ({"_1__weight": np.full((2, 1, 3, 3), np.nan, np.float32)}, "not whole numbers"),
    ({"_1__weight": np.full((2, 1, 3, 3), 1e12)}, "beyond 24 bits"),
    ({"_1__weight": np.ones((2, 1, 5, 3))}, "weight of shape .* for kernel"),
    ({"_1__kernelSize": np.array([3, 3, 3])}, "two numbers of 1 or more"),
    ({"_1__stride": np.array([0, 1])}, "two numbers of 1 or more"),
    ({"_1__padding": np.array([-1, 0])}, "two numbers of 0 or more"),
    ({"_1__bias": np.ones(3)}, "3 biases for 2 channels"),
    ({"_1__neuron__type": "ADRF"}, "neurons of type"),
    ({"_1__neuron__type": "CUBA"}, "neurons of type"),
    ({"_1__neuron__vThMant": -5}, "vThMant is"),
    ({"_1__neuron__activation": "tanh"}, "activation 'tanh' is not supported"),
    ({"_1__neuron": np.ones(3)}, "has no neuron|neurons of type"),
    ({"_0__shape": np.array([1 << 20, 1 << 20, 4])}, "of sensible sizes"),
    ({"_0__shape": np.array([0, 5, 5])}, "of sensible sizes"),
    ({"_3__weight": np.ones((3, 17))}, "weight of shape .* on 18 values"),
    ({"_3__bias": np.ones(3)}, "a sigma output with a bias"),
])
def test_damaged_lava_networks(tmp_path, changes, message):
    refused(netx(tmp_path / "m.net", **changes), message)


def test_layers_with_other_names(tmp_path):
    with h5py.File(netx(tmp_path / "m.net"), "r+") as f:
        f.move("layer/2", "layer/7")
    refused(tmp_path / "m.net", "layers are named")


def links(file, kind, outside):
    if kind == "an external link":
        file["layer/9"] = h5py.ExternalLink(str(outside), "/secret")
    elif kind == "a soft link":
        file["layer/9"] = h5py.SoftLink("/layer/0")
    elif kind == "a soft link that cycles":
        file["layer/9"] = h5py.SoftLink("/layer/9")
    elif kind == "a hard link that cycles":
        file["layer/9"] = file["layer"]
    elif kind == "external storage":
        file.create_dataset("layer/9", (4,), np.float32, external=[(str(outside), 0, 16)])
    elif kind == "a virtual dataset":
        layout = h5py.VirtualLayout((4,), np.float32)
        layout[:] = h5py.VirtualSource(str(outside), "secret", (4,))
        file.create_virtual_dataset("layer/9", layout)
    elif kind == "an object reference":
        file["layer/9"] = np.array([file["layer"].ref], h5py.ref_dtype)
    elif kind == "a compound type":
        file["layer/9"] = np.zeros(3, [("a", "f4"), ("b", "i4")])
    elif kind == "arrays of unequal length":
        file.create_dataset("layer/9", (2,), h5py.vlen_dtype(np.int32))
    elif kind == "a named type":
        file["layer/9"] = np.dtype("f4")
    elif kind == "an empty dataset":
        file["layer/9"] = h5py.Empty("f4")
    elif kind == "complex numbers":
        file["layer/9"] = np.zeros(2, np.complex64)
    elif kind == "a bomb that is not stored":
        file.create_dataset("layer/9", (1 << 40,), np.float32, chunks=(1 << 16,))
    elif kind == "a bomb that is compressed":
        file.create_dataset("layer/9", data=np.zeros(1 << 26, np.float32), compression="gzip", chunks=(1 << 22,))
    elif kind == "a deep nest":
        file["layer/9/" + "/".join("abcdefghijklmnopqrst")] = 1


KINDS = {"an external link": "an external link", "a soft link": "a soft link", "a soft link that cycles": "a soft link",
         "a hard link that cycles": "contains itself", "external storage": "stored outside the file", "a virtual dataset": "stored outside the file",
         "an object reference": "numbers and text are read", "a compound type": "numbers and text are read",
         "arrays of unequal length": "numbers and text are read", "a named type": "neither a group nor a dataset",
         "an empty dataset": "is empty", "complex numbers": "numbers and text are read", "a bomb that is not stored": "bytes >",
         "a bomb that is compressed": "bytes > |claims", "a deep nest": "nested deeper"}


@pytest.mark.parametrize("kind", KINDS)
def test_what_hdf5_can_hide(tmp_path, kind):
    outside = tmp_path / "outside.bin"
    outside.write_bytes(b"secret" * 10)
    with h5py.File(netx(tmp_path / "m.net"), "r+") as file:
        links(file, kind, outside)
    refused(tmp_path / "m.net", KINDS[kind])


def test_thousands_of_members(tmp_path):
    with h5py.File(tmp_path / "m.net", "w") as file:
        group = file.create_group("layer")
        for i in range(MAX_MEMBERS + 1):
            group.create_group(str(i))
    refused(tmp_path / "m.net", "more than 20,000 members")


@pytest.mark.parametrize("share", [0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.97, 0.995])
def test_truncations(tmp_path, share):
    whole = netx(tmp_path / "whole.net").read_bytes()
    (tmp_path / "m.net").write_bytes(whole[: int(share * len(whole))])
    refused(tmp_path / "m.net", "damaged HDF5|no lava-dl network|not an HDF5")


@pytest.mark.parametrize("seed", range(40))
def test_flipped_bytes_are_read_or_refused(tmp_path, seed):
    rng = np.random.default_rng(seed)
    data = bytearray(netx(tmp_path / "whole.net").read_bytes())
    for at in rng.integers(8, len(data), 12):
        data[at] = rng.integers(256)
    (tmp_path / "m.net").write_bytes(bytes(data))
    began = time.process_time()
    try:
        load(tmp_path / "m.net")
    except LoadError:
        pass
    assert time.process_time() - began < WITHIN_S


def test_not_there(tmp_path):
    with pytest.raises(LoadError, match="no such file"):
        read_hdf5(tmp_path / "none.net")
