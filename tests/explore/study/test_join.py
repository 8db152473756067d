"""Several processes share a study: through a journal file, and over Dask. No task is done twice, and the dead are replaced."""

import os
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest

from neurosim.explore.study import read_study, run_study
from neurosim.explore.study.claims import Node, open_storage

ROOT = Path(__file__).parents[3]
SCRIPT = """
import sys
from neurosim.explore.study import read_study, run_study
done = run_study(read_study(sys.argv[1]), sys.argv[2], join=True, storage=sys.argv[3] or None)
print(done.simulated, done.priced)
"""


def join_in(study, folder, storage=""):
    """Another process that joins."""
    return subprocess.Popen([sys.executable, "-c", SCRIPT, str(study), str(folder), storage], stdout=subprocess.PIPE, text=True,
                            env={**os.environ, "PYTHONPATH": str(ROOT)})


def both_share(study, folder, whole, storage=""):
    """Two processes do a study together; asserts that each task was done once, and what the table is."""
    nodes = [join_in(study, folder, storage) for _ in range(2)]
    done = [tuple(map(int, node.communicate(timeout=120)[0].split())) for node in nodes]
    assert [sum(part) for part in zip(*done, strict=True)] == [3, 108]
    assert all(priced > 0 for _, priced in done)
    assert (folder / "table.parquet").read_bytes() == whole


@pytest.fixture
def many(write, tmp_path):
    """A study of 108 chunks, and its table."""
    study = write(prices="{chip: [loihi2], core.neurons: [16, 24, 32, 48], noc.width: [4, 6, 8], noc.height: [4, 6, 8]}", chunk="1")
    run_study(read_study(study), tmp_path / "whole")
    return study, (tmp_path / "whole" / "table.parquet").read_bytes()


def test_two_processes_share_a_journal(many, tmp_path):
    study, whole = many
    both_share(study, tmp_path / "shared", whole)
    for name in optuna.get_all_study_names(open_storage(str(tmp_path / "shared" / "claims.journal"))):
        claims = optuna.load_study(study_name=name, storage=open_storage(str(tmp_path / "shared" / "claims.journal")))
        done = [t.user_attrs["task"] for t in claims.trials if t.state.name == "COMPLETE"]
        assert len(done) == len(set(done)) > 0


def test_tasks_of_the_dead_are_taken_over(many, tmp_path):
    study, whole = many
    node = join_in(study, tmp_path / "shared")
    rows = tmp_path / "shared" / "rows"
    end = time.monotonic() + 60
    while not (rows.is_dir() and len(list(rows.iterdir())) >= 3):
        assert time.monotonic() < end
        time.sleep(0.01)
    node.kill()
    node.wait()
    done = run_study(read_study(study), tmp_path / "shared", join=True, silent_s=0.5)
    assert 0 < done.priced < 108 and (tmp_path / "shared" / "table.parquet").read_bytes() == whole


def test_claims_are_given_out_once_and_taken_over_once(tmp_path):
    a, b, c = (Node(tmp_path, silent_s=0.2) for _ in range(3))
    with b.living(), c.living():
        with a.living():
            mine, others = a.claims("p", 3), b.claims("p", 3)
            (first, _), (second, trial) = mine.take(), others.take()
            others.done(trial)
            assert {first, second} == {0, 1}
            assert mine.take()[0] == 2 and others.take() is None  # a lives, so its tasks are its own
        time.sleep(0.3)
        taken = [t for t in (others.take(), c.claims("p", 3).take(), others.take(), c.claims("p", 3).take()) if t is not None]
        assert sorted(task for task, _ in taken) == sorted([first, 2])
    assert not list((tmp_path / "nodes").iterdir())
