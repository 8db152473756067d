"""The same table for any number of workers, executor, interruption or repetition; nothing is done twice."""

import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from neurosim.errors import NeurosimError, SimulationError
from neurosim.explore.study import Store, read_study, run_study
from neurosim.explore.study.executors import process_pool

SCRIPT = """
import sys
from neurosim.explore.study import read_study, run_study
if __name__ == "__main__":
    run_study(read_study(sys.argv[1]), sys.argv[2], workers=int(sys.argv[3]))
"""


def table_of(study, folder, **options):
    done = run_study(study, folder, **options)
    return (folder / "table.parquet").read_bytes(), done


def test_same_bytes_for_any_executor(small, tmp_path):
    alone, done = table_of(small, tmp_path / "a")
    assert (done.rows, done.runs, done.simulated, done.priced) == (12, 3, 3, 6)
    assert table_of(small, tmp_path / "b", workers=2)[0] == alone
    with ThreadPoolExecutor(8) as threads:
        assert table_of(small, tmp_path / "c", executor=threads)[0] == alone


def test_what_is_there_is_not_done_again(small, write, tmp_path):
    before, _ = table_of(small, tmp_path / "a")
    again, done = table_of(small, tmp_path / "a")
    assert again == before and done.simulated == done.priced == 0
    model = small.runs["model"][0]
    more = read_study(write(runs=f"{{model: ['{model}'], threshold: [0, 0.02, 0.1, 0.2]}}"))
    grown, done = table_of(more, tmp_path / "a")
    assert (done.rows, done.simulated, done.priced) == (16, 1, 2)
    assert grown == table_of(more, tmp_path / "b")[0]
    (tmp_path / "x.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:-4] + b"\0\0\0\0")  # other inputs: other runs
    assert table_of(small, tmp_path / "a")[1].simulated == 3


def test_a_process_that_goes_on_knows_what_has_changed(write, tmp_path):
    """Another study in the same folder and process, and another chip file of the same name: nothing of the first is remembered."""
    import neurosim as ns

    text = (Path(ns.__file__).parent / "chips" / "loihi2.yaml").read_text()
    (tmp_path / "mine.yaml").write_text(text)
    first = read_study(write(prices="{chip: [mine.yaml], core.neurons: [16]}"))
    run_study(first, tmp_path / "a")
    (tmp_path / "mine.yaml").write_text(text.replace("28 pJ", "29 pJ"))
    more = read_study(write(prices="{chip: [mine.yaml], core.neurons: [16], noc.width: [4, 8]}"))
    for study in (first, more):
        grown, _ = table_of(study, tmp_path / "a")
        assert grown == table_of(study, tmp_path / f"fresh{len(study.prices)}", workers=2)[0]


def test_manifest_names_what_went_in(small, tmp_path):
    import json

    run_study(small, tmp_path / "a")
    manifest = json.loads((tmp_path / "a" / "manifest.json").read_text())
    assert {"numpy", "numba", "pyarrow"} <= set(manifest["packages"]) and list(manifest["digests"]["chips"]) == ["loihi2"]
    assert len(manifest["digests"]["workload"]["inputs"]) == 64 and list(manifest["digests"]["runs"]) == list(small.runs["model"])


def test_a_task_that_fails_says_why(write, small, tmp_path):
    model = small.runs["model"][0]
    study = read_study(write(runs=f"{{model: ['{model}'], threshold: [0, -1]}}"))
    for workers in (1, 2):
        with pytest.raises(NeurosimError, match="threshold"):
            run_study(study, tmp_path / f"w{workers}", workers=workers)
        assert not (tmp_path / f"w{workers}" / "table.parquet").exists()


def _kill_once(flag):
    if not flag.exists():
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)


class Killed:
    """An executor whose first task kills its worker."""

    def __init__(self, pool, flag):
        self._pool, self._flag = pool, flag

    def submit(self, function, *arguments):
        self._pool.submit(_kill_once, self._flag)
        return self._pool.submit(function, *arguments)


def test_a_worker_that_dies_is_replaced(small, tmp_path, monkeypatch):
    from contextlib import contextmanager

    @contextmanager
    def dying(workers):
        with process_pool(workers) as pool:
            yield Killed(pool, tmp_path / "killed")

    monkeypatch.setattr("neurosim.explore.study.engine.process_pool", dying)
    table, _ = table_of(small, tmp_path / "a", workers=2)
    assert (tmp_path / "killed").exists() and table == table_of(small, tmp_path / "b")[0]


def test_workers_that_always_die_are_an_error(small, tmp_path, monkeypatch):
    monkeypatch.setattr("neurosim.explore.study.engine.process_pool", lambda workers: process_pool(workers))
    monkeypatch.setattr("neurosim.explore.study.engine.do", _die)
    with pytest.raises(SimulationError, match="died again and again"):
        run_study(small, tmp_path / "a", workers=2)


def _die(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def test_killed_at_random_moments(write, tmp_path):
    """kill -9 of the driver, 20 times; then the table is that of an undisturbed run, every row once."""
    study = write(prices="{chip: [loihi2], core.neurons: [16, 24, 32, 48], noc.width: [4, 6, 8], noc.height: [4, 6, 8]}", chunk="1")
    whole, done = table_of(read_study(study), tmp_path / "whole")
    assert done.rows == 108
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    rng, folder, killed = random.Random(1), tmp_path / "killed", 0
    while killed < 20:
        driver = subprocess.Popen([sys.executable, str(script), str(study), str(folder), str(1 + killed % 2)], env=environment, stderr=subprocess.DEVNULL)
        n = len(list((folder / "rows").glob("*.parquet")))
        wanted = n + 1 + rng.randrange(4)
        while len(list((folder / "rows").glob("*.parquet"))) < wanted and driver.poll() is None:
            time.sleep(0.005)
        time.sleep(rng.random() * 0.05)
        driver.kill()
        driver.wait()
        killed += 1
        if (folder / "table.parquet").is_file():  # it was through: begin anew, so that all kills hit something
            assert (folder / "table.parquet").read_bytes() == whole
            folder.rename(tmp_path / f"through{killed}")
    table, done = table_of(read_study(study), folder)
    assert table == whole and done.priced < 108
    keys = [(r["threshold"], r["core.neurons"], r["noc.width"], r["noc.height"]) for r in Store(folder).table()]
    assert len(keys) == 108 == len(set(keys))


def _wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_orphans_end(write, tmp_path):
    """Workers whose driver was killed do not stay."""
    script = tmp_path / "script.py"
    script.write_text("import os, time\nfrom neurosim.explore.study.executors import process_pool\n"
                      "if __name__ == '__main__':\n    with process_pool(1) as pool:\n"
                      "        print(pool.submit(os.getpid).result(), flush=True)\n        time.sleep(60)\n")
    driver = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True,
                              env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])})
    worker = int(driver.stdout.readline())
    os.kill(worker, 0)
    driver.kill()
    driver.wait()
    _wait_for(lambda: not _alive(worker), 20)


def _alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] != "Z"
    except OSError:
        return False
