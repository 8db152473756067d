"""Two processes share a study through a PostgreSQL server on loopback, started here."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from neurosim.explore.study import read_study, run_study

pytest.importorskip("psycopg2", reason="the PostgreSQL driver is not installed")
ROOT = Path(__file__).parents[2]
BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin")) if Path("/usr/lib/postgresql").is_dir() else []
INITDB = str(BINARIES[-1] / "initdb") if BINARIES else shutil.which("initdb")
if INITDB is None:
    pytest.skip("no PostgreSQL server is installed", allow_module_level=True)
MODEL = ROOT / "models" / "cartpole_ppo" / "policy.onnx"
SCRIPT = """
import sys
from neurosim.explore.study import read_study, run_study
done = run_study(read_study(sys.argv[1]), sys.argv[2], join=True, storage=sys.argv[3])
print(done.simulated, done.priced)
"""


@pytest.fixture
def address(tmp_path_factory):
    """Address of a new and empty database; the server refuses to run as root."""
    import pwd

    folder = tmp_path_factory.mktemp("postgres")
    as_user = []
    if os.getuid() == 0:
        try:
            owner = pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("root cannot start PostgreSQL, and there is no user postgres")
        os.chown(folder, owner.pw_uid, owner.pw_gid)
        for parent in folder.parents[:2]:
            parent.chmod(0o755)
        as_user = ["runuser", "-u", "postgres", "--"]
    pg_ctl = str(Path(INITDB).with_name("pg_ctl"))
    port = 50_000 + os.getpid() % 10_000
    subprocess.run([*as_user, INITDB, "-D", folder / "data", "-A", "trust", "-U", "postgres"], check=True, capture_output=True)
    options = f"-c listen_addresses=127.0.0.1 -p {port} -c unix_socket_directories=''"
    subprocess.run([*as_user, pg_ctl, "-D", folder / "data", "-w", "-o", options, "-l", folder / "log", "start"], check=True,
                   stdout=subprocess.DEVNULL)
    yield f"postgresql+psycopg2://postgres@127.0.0.1:{port}/postgres"
    subprocess.run([*as_user, pg_ctl, "-D", folder / "data", "-m", "immediate", "stop"], check=True, stdout=subprocess.DEVNULL)


def test_two_processes_share_a_database(address, tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32))
    study = tmp_path / "study.yaml"
    study.write_text(f"name: shared\nworkload: {{inputs: x.npy}}\nruns: {{model: ['{MODEL}'], threshold: [0, 0.1]}}\nchunk: 1\n"
                     "prices: {chip: [loihi2], core.neurons: [16, 24, 32, 48], noc.width: [4, 6, 8], noc.height: [4, 6]}\n")
    run_study(read_study(study), tmp_path / "alone")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    nodes = [subprocess.Popen([sys.executable, "-c", SCRIPT, str(study), str(tmp_path / "shared"), address], stdout=subprocess.PIPE, text=True,
                              env=environment) for _ in range(2)]
    done = [tuple(map(int, node.communicate(timeout=180)[0].split())) for node in nodes]
    assert [sum(part) for part in zip(*done, strict=True)] == [2, 48] and all(priced > 0 for _, priced in done)
    assert (tmp_path / "shared" / "table.parquet").read_bytes() == (tmp_path / "alone" / "table.parquet").read_bytes()
