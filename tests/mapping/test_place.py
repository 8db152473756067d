"""Placement: strategies against brute force, tiles by hand, placement files and their refusals."""

from itertools import combinations, permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import nature_like, networks, slow_stream, two_three_one

from neurosim.chip import Chip
from neurosim.errors import MappingError
from neurosim.mapping import check, compile, place, read_placement
from neurosim.simulation import simulate

CHIP = Chip.load("loihi2").with_settings({"noc.width": 6, "noc.height": 60})
SMALL = CHIP.with_settings({"core.neurons": 12, "noc.cores_per_tile": 1})


@st.composite
def problems(draw):
    """Seats, traffic of a chain of layers with some noise, and a port."""
    shape, per_tile = (draw(st.integers(1, 5)), draw(st.integers(1, 5))), draw(st.integers(1, 4))
    n = draw(st.integers(1, min(12, shape[0] * shape[1] * per_tile)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    traffic = np.where(rng.random((n + 1, n + 1)) < 0.4, rng.integers(0, 100, (n + 1, n + 1)), 0).astype(float)
    np.fill_diagonal(traffic, 0)
    return np.full(shape, per_tile), traffic, (draw(st.integers(0, shape[0] - 1)), draw(st.integers(0, shape[1] - 1)))


def slow_hops(tiles, traffic, port):
    """Sum over pairs of events x Manhattan distance, one pair at a time."""
    at, total = [*map(tuple, tiles.tolist()), port], 0
    for i in range(len(at)):
        for j in range(len(at)):
            total += traffic[i, j] * (abs(at[i][0] - at[j][0]) + abs(at[i][1] - at[j][1]))
    return total


@given(problems())
def test_every_strategy_gives_every_core_a_seat(problem):
    seats, traffic, port = problem
    for name, strategy in place.STRATEGIES.items():
        tiles = strategy(seats, traffic, port)
        assert tiles.shape == (len(traffic) - 1, 2) and tiles.dtype == np.int64, name
        taken = np.zeros_like(seats)
        np.add.at(taken, tuple(tiles.T), 1)
        assert (taken <= seats).all(), name
        assert np.array_equal(tiles, strategy(seats, traffic, port)), name
        assert place.event_hops(tiles, traffic, port) == pytest.approx(slow_hops(tiles, traffic, port))


@given(problems())
def test_no_exchange_improves_a_quadratic_placement(problem):
    """It has no more hops than greedy, row_major or snake; no swap of two cores and no move to a free seat helps."""
    seats, traffic, port = problem
    tiles = place.quadratic(seats, traffic, port)
    fewest = slow_hops(tiles, traffic, port)
    assert fewest <= slow_hops(place.greedy(seats, traffic, port), traffic, port)
    for i, j in combinations(range(len(tiles)), 2):
        swapped = tiles.copy()
        swapped[[i, j]] = tiles[[j, i]]
        assert slow_hops(swapped, traffic, port) >= fewest
    if 2 * len(tiles) >= seats.sum():      # then every seat was considered
        for i, at in ((i, at) for i in range(len(tiles)) for at in np.ndindex(seats.shape)):
            moved = tiles.copy()
            moved[i] = at
            if (moved == at).all(1).sum() <= seats[at]:
                assert slow_hops(moved, traffic, port) >= fewest


@pytest.mark.parametrize("seed", range(12))
def test_quadratic_finds_the_optimum_of_small_problems(seed):
    """5 cores on 6 tiles: all 720 placements are tried."""
    rng = np.random.default_rng(seed)
    seats, traffic = np.ones((3, 2), np.int64), rng.integers(0, 50, (6, 6)).astype(float)
    np.fill_diagonal(traffic, 0)
    tiles = np.stack(np.unravel_index(np.arange(6), (3, 2)), 1)
    best = min(slow_hops(tiles[list(order)], traffic, (0, 0)) for order in permutations(range(6), 5))
    assert slow_hops(place.quadratic(seats, traffic, (0, 0)), traffic, (0, 0)) == best


def test_quadratic_on_many_seats_stays_near_the_port():
    """60 cores in a chain on 4,096 tiles: the relaxation is left out, and greedy is still not beaten."""
    traffic = np.zeros((61, 61))
    traffic[60, 0] = 5
    traffic[np.arange(59), np.arange(1, 60)] = np.arange(59) % 7 + 1
    seats = np.ones((64, 64), np.int64)
    tiles = place.quadratic(seats, traffic, (30, 30))
    assert place.event_hops(tiles, traffic, (30, 30)) <= place.event_hops(place.greedy(seats, traffic, (30, 30)), traffic, (30, 30))
    assert len({tuple(t) for t in tiles.tolist()}) == 60


def test_a_large_quadratic_problem_ends_when_its_work_is_done(monkeypatch):
    from neurosim.mapping import quadratic_assignment

    monkeypatch.setattr(quadratic_assignment, "WORK", 1)
    rng = np.random.default_rng(0)
    traffic, seats = rng.integers(0, 9, (31, 31)).astype(float), np.ones((8, 8), np.int64)
    tiles = place.quadratic(seats, traffic, (0, 0))
    assert place.event_hops(tiles, traffic, (0, 0)) <= place.event_hops(place.greedy(seats, traffic, (0, 0)), traffic, (0, 0))


def test_orders_by_hand():
    seats, none = np.full((3, 2), 1), np.zeros((6, 6))
    assert place.row_major(seats, none, (0, 0)).tolist() == [[0, 0], [1, 0], [2, 0], [0, 1], [1, 1]]
    assert place.snake(seats, none, (0, 0)).tolist() == [[0, 0], [1, 0], [2, 0], [2, 1], [1, 1]]
    assert place.row_major(np.full((3, 2), 2), none, (0, 0)).tolist() == [[0, 0], [0, 0], [1, 0], [1, 0], [2, 0]]


def test_greedy_by_hand():
    """Port on (2, 0). Core 1 has most traffic with the port: its tile; then core 0, tied to core 1; core 2 has none: first free."""
    traffic = np.zeros((4, 4))
    traffic[3, 1], traffic[1, 0] = 9, 5
    assert place.greedy(np.ones((4, 1), np.int64), traffic, (2, 0)).tolist() == [[1, 0], [2, 0], [0, 0]]


@given(networks(), st.sampled_from(sorted(place.STRATEGIES)), st.integers(0, 100))
@settings(max_examples=15)
def test_hops_of_a_run_are_event_hops(net, strategy, seed):
    """What the strategies minimise is what a unicast chip then counts."""
    from neurosim.mapping import _traffic
    from neurosim.pricing import price

    trace = simulate(net, slow_stream(net.input.shape, 4, np.random.default_rng(seed)), numerics="float64", reference="none")
    program = compile(net, SMALL.with_settings({"noc.cores_per_tile": 2}), trace, strategy)
    counts = price(trace, program).mapping_counts
    traffic = _traffic(net, program.axons, program.slices, program.cores_used, trace)
    assert counts["hops_x"] + counts["hops_y"] == place.event_hops(program.tile_of_core, traffic, program.port)


def test_a_run_without_events_can_be_placed():
    net = two_three_one()
    trace = simulate(net, np.zeros((3, 2)), numerics="float64", reference="none")
    assert trace.totals_by_counter["events"] == 0
    for strategy in place.STRATEGIES:
        check(compile(net, SMALL, trace, strategy), net)


# by hand and from files


FILE = """
# two layers by hand
tiles:
  input: [1, 2]
  c1: [[0, 0], [1, 0], [2, 0], [3, 0], [4, 0], [5, 0]]
  c2: [[0, 1], [1, 1], [2, 1], [3, 1], [4, 1], [5, 1], [0, 2], [1, 2]]
  f1: [5, 2]
  f2: [5, 3]
"""


def test_a_file_is_read(tmp_path):
    expected = {"input": (1, 2), ("c1", 0): (0, 0), ("c1", 1): (1, 0), "f1": (5, 2)}
    path = tmp_path / "placement.yaml"
    path.write_text(FILE)
    for given_ in (FILE, path, str(path)):
        tiles = read_placement(given_)
        assert isinstance(tiles, dict) and expected.items() <= tiles.items() and len(tiles) == 17
    assert tiles.where["f1"] == f"{path}:7:3" and tiles.where["c1", 1] == f"{path}:5:16"
    for name in place.STRATEGIES:
        assert read_placement(name) == read_placement(f"strategy: {name}\n") == read_placement(f"{{strategy: {name}}}") == name


def test_a_file_places_cores(tmp_path):
    net, path = nature_like(np.random.default_rng(0)), tmp_path / "p.yaml"
    chip = SMALL.with_settings({"core.neurons": 16})
    slices = [s.layer for s in compile(net, chip).slices]
    tiles = [[i % 6, i // 6] for i in range(len(slices))]
    path.write_text("tiles:\n  input: [5, 9]\n" + "".join(
        f"  {layer.name}: {[t for t, at in zip(tiles, slices, strict=True) if at == i]}\n" for i, layer in enumerate(net.layers)))
    program = compile(net, chip, placement=path)
    assert program.tile_of_core.tolist() == tiles and program.port == (5, 9)
    same = compile(net, chip, placement=str(path))
    assert np.array_equal(same.routes.link, program.routes.link)
    path.write_text("strategy: snake\n")
    assert np.array_equal(compile(net, chip, placement=path).tile_of_core, compile(net, chip, placement="snake").tile_of_core)


@pytest.mark.parametrize(("text", "message"), [
    ("strategy: gredy\n", "<text>:1:1: unknown strategy 'gredy'; did you mean 'greedy'?"),
    ("strategy: 7\n", "<text>:1:1: unknown strategy 7; one of row_major, snake, greedy, quadratic"),
    ("placement: greedy\n", "<text>:1:1: unknown key 'placement'; known: strategy, tiles"),
    ("strategy: greedy\ntiles: {a: [0, 0]}\n", "<text>:1:1: a placement holds one of strategy and tiles, not both"),
    ("- greedy\n", "<text>:1:1: a placement is a mapping: strategy: NAME, or tiles: {LAYER: [x, y], ...}"),
    ("\n", "a placement is a mapping"),
    ("tiles: [0, 0]\n", "<text>:1:1: tiles is a mapping"),
    ("tiles: {}\n", "<text>:1:1: tiles is a mapping"),
    ("tiles:\n  a: [0, 0]\n  a: [1, 0]\n", "<text>:3:3: key 'a' is given twice (first on line 2)"),
    ("tiles:\n  a: 3\n", "<text>:2:3: a: 3 is not a tile; a tile is [x, y], two whole numbers of 0 or more, or a list of such tiles, one per slice"),
    ("tiles:\n  a: [0, -1]\n", "<text>:2:3: a: [0, -1] is not a tile"),
    ("tiles:\n  a: [0, 1, 2]\n", "<text>:2:3: a: [0, 1, 2] is not a tile"),
    ("tiles:\n  a: [0, 1.5]\n", "<text>:2:3: a: [0, 1.5] is not a tile"),
    ("tiles:\n  a: [true, 0]\n", "<text>:2:3: a: [True, 0] is not a tile"),
    ("tiles:\n  a:\n  - [0, 0]\n  - [1]\n", "<text>:4:5: a: [1] is not a tile"),
    ("tiles:\n  a: []\n", "<text>:2:3: a: [] is not a tile"),
    ("tiles:\n  input: [[0, 0]]\n", "<text>:2:3: input: [[0, 0]] is not a tile; a tile is [x, y], two whole numbers of 0 or more"),
    ("tiles:\n  12: [0, 0]\n", "<text>:2:3: layer 12 is not text; put its name in quotes"),
    ("tiles: {a: [0, 0]\n", "<text>:2:1"),
    ("tiles: !!python/none\n", "<text>:1:8: tag"),
])
def test_files_that_are_refused(text, message):
    with pytest.raises(MappingError) as error:
        read_placement(text)
    assert message in str(error.value)


def test_all_problems_of_a_file_are_told_in_order():
    with pytest.raises(MappingError) as error:
        read_placement("tiles:\n  a: 1\n  b: [0, 0]\n  c: [[0, 0], 2]\nnote: x\n")
    assert [line.split(": ")[0] for line in str(error.value).splitlines()] == ["<text>:2:3", "<text>:4:3", "<text>:5:1"]


@pytest.mark.parametrize(("name", "message"), [
    ("diagonal", "unknown placement 'diagonal'; one of row_major, snake, greedy, quadratic, a placement file, or tiles by hand"),
    ("gredy", "unknown placement 'gredy'; did you mean 'greedy'?"),
    ("nowhere/placement.yaml", "unknown placement 'nowhere/placement.yaml'"),
    (Path("/nowhere.yaml"), "unknown placement '/nowhere.yaml'"),
    ("x" * 5000, "unknown placement 'xxx"),
    (7, "placement 7: a strategy, a placement file, or tiles by hand is due"),
    (None, "placement None: a strategy"),
])
def test_unknown_placements(name, message):
    with pytest.raises(MappingError) as error:
        compile(two_three_one(), SMALL, placement=name)
    assert message in str(error.value)


@pytest.mark.parametrize(("text", "message"), [
    ("tiles:\n  hidden: [0, 0]\n", "<text>:1:1: placement gives no tile for layer 'output', slice 0"),
    ("tiles:\n  hidden: [0, 0]\n  output: [9, 0]\n", "<text>:3:3: placement of 'output': tile (9, 0) lies outside the mesh of 6 x 60 tiles"),
    ("tiles:\n  input: [0, 77]\n  hidden: [0, 0]\n  output: [1, 0]\n", "<text>:2:3: placement of 'input': tile (0, 77) lies outside the mesh"),
    ("tiles:\n  hidden: [0, 0]\n  output: [0, 0]\n", "<text>:3:3: placement puts 2 cores on tile (0, 0) > 1 cores per tile"),
    ("tiles:\n  hidden: [[0, 0], [1, 0]]\n  output: [2, 0]\n",
     "<text>:2:20: placement names ('hidden', 1), which is no layer or slice; layer 'hidden' has 1 slice, numbered from 0"),
    ("tiles:\n  hidden: [0, 0]\n  output: [1, 0]\n  fc: [2, 0]\n",
     "<text>:4:3: placement names 'fc', which is no layer or slice; layers: hidden, output"),
])
def test_files_that_do_not_suit_the_network(text, message):
    with pytest.raises(MappingError) as error:
        compile(two_three_one(), SMALL, placement=text)
    assert message in str(error.value)


@pytest.mark.parametrize("tile", [3, "00", (0, 0, 0), (0.5, 0), (True, 0), None, (), "x"])
def test_tiles_by_hand_that_are_no_tiles(tile):
    with pytest.raises(MappingError, match="is not a tile"):
        compile(two_three_one(), SMALL, placement={"hidden": tile, "output": (0, 0)})
    with pytest.raises(MappingError, match="is not a tile"):
        compile(two_three_one(), SMALL, placement={"hidden": (0, 0), "output": (1, 0), "input": tile})
