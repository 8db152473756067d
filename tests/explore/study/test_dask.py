"""The same study on a Dask cluster on loopback: a scheduler and two workers in processes of their own, one of them killed."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from neurosim.errors import SimulationError
from neurosim.explore.study import read_study, run_study

pytest.importorskip("distributed")
ROOT = Path(__file__).parents[3]


def dask(*arguments):
    return subprocess.Popen([sys.executable, "-m", "distributed.cli." + arguments[0], *arguments[1:]], stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(ROOT)})


@pytest.fixture
def cluster(tmp_path):
    """Address of a scheduler, and its two workers."""
    file = tmp_path / "scheduler.json"
    scheduler = dask("dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file))
    end = time.monotonic() + 60
    while not file.is_file():
        assert time.monotonic() < end and scheduler.poll() is None
        time.sleep(0.05)
    workers = [dask("dask_worker", "--scheduler-file", str(file), "--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory",
                    str(tmp_path / f"worker{i}")) for i in range(2)]
    import json

    yield json.loads(file.read_text())["address"], workers
    for process in [*workers, scheduler]:
        process.kill()
        process.wait()


def test_same_table_also_when_a_worker_dies(cluster, write, tmp_path):
    address, workers = cluster
    study = read_study(write(prices="{chip: [loihi2], core.neurons: [16, 24, 32, 48], noc.width: [4, 6, 8], noc.height: [4, 6, 8]}", chunk="1"))
    run_study(study, tmp_path / "local")
    run_study(study, tmp_path / "dask", scheduler=address)
    whole = (tmp_path / "local" / "table.parquet").read_bytes()
    assert (tmp_path / "dask" / "table.parquet").read_bytes() == whole

    def kill(what, done, total):
        if what == "rows" and done > 10 and workers[0].poll() is None:
            workers[0].kill()

    done = run_study(study, tmp_path / "killed", scheduler=address, progress=kill)
    assert workers[0].poll() is not None and done.priced == 108
    assert (tmp_path / "killed" / "table.parquet").read_bytes() == whole


def test_no_scheduler(small, tmp_path, monkeypatch):
    monkeypatch.setattr("neurosim.explore.study.executors.TIMEOUT", "1s")
    with pytest.raises(SimulationError, match="no Dask scheduler answers at tcp://127.0.0.1:9"):
        run_study(small, tmp_path / "out", scheduler="tcp://127.0.0.1:9")
