"""Agents' archives made by hand: a state_dict in torch's zip form as byte code, `data` as Stable-Baselines3 writes it."""

import io
import json
import struct
import zipfile

import numpy as np

INFINITE = {":type:": "<class 'gymnasium.spaces.box.Box'>", "dtype": "float32", "low": "[-inf]", "high": "[inf]"}
BOX = {":type:": "<class 'gymnasium.spaces.box.Box'>", "dtype": "float32", "low": "[-1. -2.]", "high": "[1. 4.]", "shape": [2]}
DISCRETE = {":type:": "<class 'gymnasium.spaces.discrete.Discrete'>", "n": "2", "shape": [], "dtype": "int64"}


def text(value):
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def whole(value):
    return b"J" + struct.pack("<i", value)


def tensor(key, shape, strides=None, elements=None, offset=0, storage="FloatStorage"):
    """Byte code of one tensor of `torch.save`."""
    strides = strides or [int(np.prod(shape[i + 1 :])) for i in range(len(shape))]
    elements = int(np.prod(shape)) if elements is None else elements
    persistent = b"(" + text("storage") + f"ctorch\n{storage}\n".encode() + text(key) + text("cpu") + whole(elements) + b"tQ"
    size, stride = (b"(" + b"".join(map(whole, v)) + b"t" for v in (shape, strides))
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + persistent + whole(offset) + size + stride + b"\x89ccollections\nOrderedDict\n)RtR"


def state_dict_code(tensors):
    """Byte code of an OrderedDict of byte codes."""
    return b"\x80\x02ccollections\nOrderedDict\n)R(" + b"".join(text(k) + v for k, v in tensors.items()) + b"u."


def torch_zip(code, storages):
    """What torch.save writes since 1.6: description and storages."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", code)
        for key, raw in storages.items():
            archive.writestr(f"archive/data/{key}", raw)
        archive.writestr("archive/version", "3\n")
    return stream.getvalue()


def state_dict(parameters):
    """A state_dict of float32 arrays in torch's zip form."""
    tensors = {name: tensor(str(i), np.shape(v)) for i, (name, v) in enumerate(parameters.items())}
    return torch_zip(state_dict_code(tensors), {str(i): np.asarray(v, "<f4").tobytes() for i, v in enumerate(parameters.values())})


def data(policy="ActorCriticPolicy", module="stable_baselines3.common.policies", observations=(2,), actions=DISCRETE, **more):
    """The member `data` of an agent without VecNormalize."""
    members = {
        "policy_class": {":type:": "<class 'abc.ABCMeta'>", ":serialized:": "gAU=", "__module__": module,
                         "__init__": f"<function {policy}.__init__ at 0x7f5f4d8170d0>"},
        "policy_kwargs": {},
        "observation_space": {**INFINITE, "shape": list(observations)},
        "action_space": actions,
        "_last_original_obs": None,
    }  # fmt: skip
    return {**members, **more}


PARAMETERS = {
    "log_std": [0.0, 0.0],
    "mlp_extractor.policy_net.0.weight": [[1.0, 0.0], [0.0, 2.0], [1.0, -1.0]],
    "mlp_extractor.policy_net.0.bias": [0.0, 0.0, 0.5],
    "mlp_extractor.value_net.0.weight": [[1.0, 1.0]],
    "mlp_extractor.value_net.0.bias": [0.0],
    "action_net.weight": [[1.0, 1.0, 0.0], [0.0, 0.0, 4.0]],
    "action_net.bias": [0.0, -1.0],
    "value_net.weight": [[1.0]],
    "value_net.bias": [0.0],
}
"""A 2-3-2 actor beside a critic."""


def write_agent(path, members=None, parameters=None, described=None, mode=zipfile.ZIP_STORED):
    """An archive as model.save writes it; `members` replaces or (with None) removes members."""
    content = {
        "data": json.dumps(described or data()).encode(),
        "pytorch_variables.pth": b"",
        "policy.pth": state_dict(parameters or PARAMETERS),
        "_stable_baselines3_version": b"2.9.2",
        **(members or {}),
    }
    with zipfile.ZipFile(path, "w", mode) as archive:
        for name, raw in content.items():
            if raw is not None:
                archive.writestr(name, raw)
    return path
