"""Routes of fans against a walker that moves tile by tile; no code is shared."""

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurosim import mesh
from neurosim.mapping import route
from neurosim.program import HOST

STEPS = ((1, 0), (-1, 0), (0, 1), (0, -1))


def walk(at, to):
    """Links (tile, direction) from tile to tile: first in x, then in y."""
    (x, y), links = at, []
    while (x, y) != to:
        direction = (0 if to[0] > x else 1) if x != to[0] else (2 if to[1] > y else 3)
        links.append(((x, y), direction))
        x, y = x + STEPS[direction][0], y + STEPS[direction][1]
    return links


def kind_of(link, chip_width):
    (x, _), direction = link
    if direction >= 2:
        return 1
    return 2 if x // chip_width != (x + STEPS[direction][0]) // chip_width else 0


@given(st.tuples(*[st.integers(0, 6)] * 4))
def test_paths_equal_a_walk(places):
    x, y, to_x, to_y = places
    n_links, links = mesh.paths(np.array([[x, y], [to_x, to_y]]), np.array([[to_x, to_y], [to_x, to_y]]), 7)
    expected = [(tile[1] * 7 + tile[0]) * 4 + direction for tile, direction in walk((x, y), (to_x, to_y))]
    assert links.tolist() == expected and n_links.tolist() == [len(expected), 0]


@st.composite
def fans(draw):
    """Cores on tiles of several chips, and fans over them."""
    n_chips, chip_width, height = draw(st.integers(1, 3)), draw(st.integers(1, 4)), draw(st.integers(1, 5))
    width = n_chips * chip_width
    n_cores = draw(st.integers(1, 3 * width * height))
    tile = st.tuples(st.integers(0, width - 1), st.integers(0, height - 1))
    tiles = draw(st.lists(tile, min_size=n_cores, max_size=n_cores))
    senders = draw(st.lists(st.integers(-1, n_cores - 1), min_size=1, max_size=6))
    cores = [sorted(draw(st.sets(st.integers(0, n_cores - 1), max_size=8))) for _ in senders]
    hop_s = draw(st.sampled_from([(0, 0, 0, 0), (4e-9, 7e-9, 50e-9, 1e-9), (5e-9, 1e-9, 0, 9e-9)]))
    return n_chips, chip_width, (width, height), tiles, draw(tile), senders, cores, hop_s


@pytest.mark.parametrize("multicast", [False, True])
@given(fans(), st.sampled_from([1, 5, 2_000_000]))
def test_routes_equal_a_walk(multicast, drawn, chunk):
    n_chips, chip_width, mesh, tiles, port, senders, cores, hop_s = drawn
    table = SimpleNamespace(n_fans=len(senders), fan_slice=np.array(senders, np.int32),
                            fan_start=np.cumsum([0, *map(len, cores)]), fan_core=np.array([c for each in cores for c in each], np.int32))
    before, route.CHUNK = route.CHUNK, chunk
    try:
        found = route.routes(table, np.arange(len(tiles)), np.array(tiles), port, mesh, n_chips, multicast, hop_s)
    finally:
        route.CHUNK = before
    for f, (sender, targets) in enumerate(zip(senders, cores, strict=True)):
        start = port if sender == HOST else tiles[sender]
        ways = [walk(start, tiles[core]) for core in targets if core != sender]
        links = [link for way in ways for link in way]
        links = list(set(links)) if multicast else links
        stored = found.link[found.link_start[f]: found.link_start[f + 1]].tolist()
        assert Counter(stored) == Counter((tile[1] * mesh[0] + tile[0]) * 4 + direction for tile, direction in links)
        kinds = Counter(kind_of(link, chip_width) for link in links)
        staying = bool(ways and not links) if multicast else sum(not way for way in ways)
        assert found.hops[f].tolist() == [kinds[0], kinds[1], kinds[2], staying]
        assert found.n_messages[f] == (min(1, len(ways)) if multicast else len(ways))
        assert found.n_local[f] == (sender in targets)
        rows = [[sum(kind_of(link, chip_width) == k for link in way) for k in range(3)] + [int(not way)] for way in ways]
        if not rows:
            assert not found.longest[f].any()
            continue
        seconds = hop_s if any(hop_s) else (1, 1, 1, 0)
        taking = [sum(n * s for n, s in zip(row, seconds, strict=True)) for row in rows]
        assert found.longest[f].tolist() in rows
        assert taking[rows.index(found.longest[f].tolist())] == pytest.approx(max(taking))


def test_multicast_tree_by_hand():
    """From (0, 0) to (2, 1), (2, 2) and (1, 0): links +x, +x, +y, +y instead of 3 + 4 + 1."""
    table = SimpleNamespace(n_fans=1, fan_slice=np.array([HOST]), fan_start=np.array([0, 3]), fan_core=np.array([0, 1, 2]))
    tiles = np.array([[2, 1], [2, 2], [1, 0]])
    one, many = (route.routes(table, np.arange(3), tiles, (0, 0), (4, 4), 1, m) for m in (False, True))
    assert one.hops.tolist() == [[5, 3, 0, 0]] and one.n_messages.tolist() == [3]
    assert many.link.tolist() == [0, 4, 10, 26] and many.hops.tolist() == [[2, 2, 0, 0]] and many.n_messages.tolist() == [1]
    assert one.longest.tolist() == many.longest.tolist() == [[2, 2, 0, 0]]


def test_the_longest_message_is_the_one_that_takes_longest():
    """Five links in x at 4 ns are 20 ns, four in y at 7 ns are 28 ns; counted in links, x is longer."""
    table = SimpleNamespace(n_fans=1, fan_slice=np.array([HOST]), fan_start=np.array([0, 2]), fan_core=np.array([0, 1]))
    tiles = np.array([[5, 0], [0, 4]])
    timed = route.routes(table, np.arange(2), tiles, (0, 0), (6, 6), 1, False, (4e-9, 7e-9, 0, 0))
    untimed = route.routes(table, np.arange(2), tiles, (0, 0), (6, 6), 1, False)
    assert timed.longest.tolist() == [[0, 4, 0, 0]] and untimed.longest.tolist() == [[5, 0, 0, 0]]
