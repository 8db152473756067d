"""Archives made to attack: one clear LoadError each, nothing executed, nothing outside read or written, little memory."""

import io
import json
import os
import pickle
import re
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from archives import PARAMETERS, data, state_dict, state_dict_code, tensor, text, torch_zip, write_agent

from neurosim.errors import LoadError
from neurosim.exporters import export_sb3
from neurosim.exporters.inert_pickle import read_pickle
from neurosim.exporters.torch_file import read_state_dict
from neurosim.exporters.vecnormalize import read_vecnormalize

ROOT = Path(__file__).parents[2]
MARK = "executed"


class Attack:
    """Writes a file into the current folder when a pickle of it is loaded."""

    def __reduce__(self):
        return os.system, (f"touch {MARK}",)


def attack_zip():
    return torch_zip(state_dict_code({"w": pickle.dumps(Attack(), 2)[2:-1]}), {})


def with_name(name):
    """An agent with one more member, whose name zipfile would tidy."""

    def make(path):
        write_agent(path, members={"x" * len(name): b"text"})
        path.write_bytes(path.read_bytes().replace(b"x" * len(name), name.encode()))

    return make


def truncated(share):
    def make(path):
        write_agent(path)
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])

    return make


def twice(path):
    write_agent(path)
    with pytest.warns(UserWarning), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("data", json.dumps(data()))


def flipped(path):
    """One bit of a stored weight: the member's checksum does not fit any more."""
    write_agent(path)
    raw = bytearray(path.read_bytes())
    at = raw.index(struct.pack("<f", 4.0))
    raw[at] ^= 1
    path.write_bytes(bytes(raw))


def agent(**members):
    return lambda path: write_agent(path, members={k.replace("_pth", ".pth"): v for k, v in members.items()})


def zeros(n):
    return lambda path: write_agent(path, members={"policy.pth": bytes(n)}, mode=zipfile.ZIP_DEFLATED)


def deep(opcode, n):
    return b"\x80\x02" + b")" + opcode * n + b"."


def one_tensor(**more):
    code = tensor("0", more.pop("shape", [2, 2]), **more)
    return torch_zip(state_dict_code({"action_net.weight": code}), {"0": bytes(16)})


def inner_bomb():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(200 << 20))
    return stream.getvalue()


HOSTILE = [
    ("empty", lambda path: path.write_bytes(b""), "not a zip archive"),
    ("text", lambda path: path.write_text("agent"), "not a zip archive"),
    ("half", truncated(0.5), "truncated or damaged"),
    ("tail cut", truncated(0.99), "truncated or damaged"),
    ("bit flipped", flipped, "member 'policy.pth' is damaged"),
    ("pickle instead of a zip", lambda path: path.write_bytes(pickle.dumps(Attack())), "not a zip archive"),
    ("absolute path", with_name("/etc/passwd"), "leaves the archive"),
    ("path to the parent", with_name("../../x.pth"), "leaves the archive"),
    ("windows path", with_name("C:\\x\\y.pth"), "leaves the archive"),
    ("member twice", twice, "'data' occurs twice"),
    ("bomb of 1000 to 1", zeros(300 << 20), "zip bomb"),
    ("bomb inside policy.pth", agent(policy_pth=inner_bomb()), "zip bomb"),
    ("no data", agent(data=None), "member 'data' is missing"),
    ("no policy.pth", agent(policy_pth=None), "member 'policy.pth' is missing"),
    ("empty policy.pth", agent(policy_pth=b""), "neither form of a torch file"),
    ("data is no JSON", agent(data=b"\x80\x04N."), "not JSON"),
    ("data is a list", agent(data=b"[]"), "a JSON object is needed"),
    ("data is deep", agent(data=b"[" * 100_000), "not JSON"),
    ("data is huge", agent(data=b'{"a": "' + os.urandom(1 << 20).hex().encode() * 10 + b'"}'), "bytes > limit"),
    ("data of many entries", agent(data=b'{"a": [' + b"[]," * (4 << 20) + b"0]}"), "entries of JSON > limit"),
    ("data with a huge number", agent(data=b'{"a": ' + b"1" * 1_000_000 + b"}"), "not JSON"),
    ("pickle in policy.pth", agent(policy_pth=pickle.dumps(Attack())), "asks for '(posix|nt).system'.*nothing of it was executed"),
    ("harmless pickle in policy.pth", agent(policy_pth=pickle.dumps({"a": 1})), "a plain pickle"),
    ("pickle inside policy.pth", agent(policy_pth=attack_zip()), "asks for '(posix|nt).system'.*nothing of it was executed"),
    ("eval inside policy.pth", agent(policy_pth=torch_zip(b"\x80\x02cbuiltins\neval\n" + text("1") + b"\x85R.", {})), "asks for 'builtins.eval'"),
    ("instance by INST", agent(policy_pth=torch_zip(b"(" + text("x") + b"iposix\nsystem\n.", {})), "operation INST is not read"),
    ("extension registry", agent(policy_pth=torch_zip(b"\x80\x02\x82\x01.", {})), "operation EXT1 is not read"),
    ("deep pickle", agent(policy_pth=torch_zip(deep(b"\x85", 250_000), {})), "not a state_dict"),
    ("deep key", agent(policy_pth=torch_zip(b"\x80\x02}" + b")" + b"\x85" * 100_000 + b"Ns.", {})), "a dict key of type tuple"),
    ("endless pickle", agent(policy_pth=torch_zip(b"\x80\x02" + b"N" * 400_000 + b".", {})), "more than 300,000 operations"),
    ("pickle without end", agent(policy_pth=torch_zip(b"\x80\x02}", {})), "truncated"),
    ("bytes of 8 EiB", agent(policy_pth=torch_zip(b"\x80\x04\x8e" + b"\xff" * 7 + b"\x7f.", {})), "truncated or not a pickle"),
    ("huge memo", agent(policy_pth=torch_zip(b"\x80\x02Nr\xff\xff\xff\x7f.", {})), "not a state_dict"),
    ("empty stack", agent(policy_pth=torch_zip(b"\x80\x02R.", {})), "truncated or not a pickle"),
    ("tensor larger than its storage", agent(policy_pth=one_tensor(shape=[2, 3], elements=4)), "lies outside its storage"),
    ("tensor of a broadcast element", agent(policy_pth=one_tensor(shape=[1 << 30, 4], strides=[0, 0], elements=4)), "outside its storage"),
    ("tensor behind its storage", agent(policy_pth=one_tensor(offset=1)), "outside its storage"),
    ("negative stride", agent(policy_pth=one_tensor(strides=[-1, 1])), "outside its storage"),
    ("storage larger than its file", agent(policy_pth=one_tensor(elements=1 << 30)), "has 0 elements, 1,073,741,824 are described"),
    ("storage of objects", agent(policy_pth=one_tensor(storage="UntypedStorage")), "UntypedStorage"),
    ("storage that is missing", agent(policy_pth=torch_zip(state_dict_code({"w": tensor("../../data", [1])}), {})), "is missing"),
    ("weights that are no tensors", agent(policy_pth=torch_zip(state_dict_code({"w": text("no")}), {})), "not a tensor"),
    ("wrong shapes", lambda path: write_agent(path, parameters={**PARAMETERS, "action_net.weight": np.zeros((2, 7))}), "does not fit"),
    ("one axis too many", lambda path: write_agent(path, parameters={**PARAMETERS, "action_net.weight": np.zeros((2, 3, 1))}), "2 axes"),
    ("no weights", agent(policy_pth=state_dict({})), "not a state_dict"),
    ("huge space", lambda path: write_agent(path, described=data(observations=(16_000_000,) * 4)), "observation_space of shape .* has more than 4,194,304"),
]


@pytest.mark.parametrize(("make", "message"), [h[1:] for h in HOSTILE], ids=[h[0] for h in HOSTILE])
def test_refused(tmp_path, monkeypatch, make, message):
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "agent.zip")
    with pytest.raises(LoadError, match=f"(?s){message}") as refusal:
        export_sb3("agent.zip", "exported")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["agent.zip"], "nothing is executed or written"
    assert "agent.zip" in str(refusal.value) and len(str(refusal.value)) < 800


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="the peak of memory is read from /proc")
def test_memory_stays_small(tmp_path):
    """Every archive of `HOSTILE` in one process, imports included: never more than 300 MB."""
    paths = []
    for i, (_, make, _) in enumerate(HOSTILE):
        paths.append(tmp_path / f"{i}.zip")
        make(paths[-1])
    code = f"""
import time
from neurosim.errors import LoadError
from neurosim.exporters import export_sb3
for i in range({len(paths)}):
    start = time.perf_counter()
    try:
        export_sb3(f"{{i}}.zip", "exported")
    except LoadError:
        print(i, time.perf_counter() - start)
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"^\d+ ", done.stdout, re.MULTILINE)) == len(HOSTILE)
    assert int(re.search(r"VmHWM:\s+(\d+) kB", done.stdout).group(1)) * 1024 < 300e6
    assert not (tmp_path / MARK).exists()


@pytest.mark.parametrize("protocol", range(6))
def test_statistics_that_attack(tmp_path, monkeypatch, protocol):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "vecnormalize.pkl").write_bytes(pickle.dumps({"obs_rms": Attack()}, protocol))
    with pytest.raises(LoadError, match="asks for '(posix|nt).system'.*nothing of it was executed"):
        read_vecnormalize(Path("vecnormalize.pkl"))
    assert not (tmp_path / MARK).exists()


def array_code(shape, raw, dtype="f8"):
    """Byte code of numpy.ndarray.__reduce__ in protocol 3."""
    made = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
    size = b"(" + b"".join(b"J" + struct.pack("<i", n) for n in shape) + b"t"
    return made + b"(K\x01" + size + b"cnumpy\ndtype\n" + text(dtype) + b"\x89\x88\x87R\x89B" + struct.pack("<I", len(raw)) + raw + b"tb"


@pytest.mark.parametrize(
    ("mean", "message"),
    [
        (array_code([1 << 30, 1 << 30], b""), "do not fill"),
        (array_code([-1], bytes(8)), "numbers are needed"),
        (array_code([1], bytes(8), "O8"), "numbers are needed"),
        (array_code([1], bytes(8), "f8,f8"), "not an array of numbers"),
        (b"N", "not an array of numbers"),
    ],
)
def test_arrays_that_attack(tmp_path, mean, message):
    statistics = b"cstable_baselines3.common.running_mean_std\nRunningMeanStd\n)\x81}(" + text("mean") + mean + text("var") + mean + b"ub"
    code = b"\x80\x03cstable_baselines3.common.vec_env.vec_normalize\nVecNormalize\n)\x81}" + text("obs_rms") + statistics + b"sb."
    path = tmp_path / "vecnormalize.pkl"
    path.write_bytes(code)
    with pytest.raises(LoadError, match=message):
        read_vecnormalize(path)


def test_any_damage_is_a_load_error():
    """A state_dict with bytes changed, cut or repeated is read or refused, never anything else."""
    whole, rng = state_dict(PARAMETERS), np.random.default_rng(0)
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        code, storages = archive.read("archive/data.pkl"), {n.split("/")[-1]: archive.read(n) for n in archive.namelist() if "/data/" in n}
    refused = 0
    for _ in range(1500):
        damaged = bytearray(code)
        for _ in range(rng.integers(1, 4)):
            damaged[rng.integers(2, len(damaged))] = rng.integers(0, 256)
        try:
            read_state_dict("file", torch_zip(bytes(damaged[: rng.integers(1, 2 * len(damaged))]), storages))
        except LoadError:
            refused += 1
    assert 700 < refused < 1500


def test_what_a_pickle_says_is_only_remembered():
    record = read_pickle("file", io.BytesIO(pickle.dumps(Attack())), ("posix.system", "nt.system"))
    assert record.name.endswith(".system") and record.args == (f"touch {MARK}",) and not Path(MARK).exists()
