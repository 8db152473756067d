"""Strict YAML: values, positions, one test per refusal."""

import pytest

from neurosim.strict_yaml import StrictYamlError, position_of, read_file, read_text


def test_values_follow_yaml_1_2():
    data, _ = read_text("a: on\nb: 1e-3\nc: 12:30:45\nd: true\ne: 0x1F\nf: ~\ng: '7'\nh: 35.5 pJ\ni: [1, .5, -2.]\n1: x\n")
    assert data == {"a": "on", "b": 1e-3, "c": "12:30:45", "d": True, "e": 31, "f": None, "g": "7",
                    "h": "35.5 pJ", "i": [1, 0.5, -2.0], 1: "x"}


def test_positions_are_of_keys_and_items():
    _, positions = read_text("core:\n  neurons: 4\n  list: [7,\n    8]\n")
    assert positions[("core",)] == (1, 1)
    assert positions[("core", "neurons")] == (2, 3)
    assert positions[("core", "list", 1)] == (4, 5)
    assert position_of(positions, ("core", "neurons", "deeper")) == (2, 3)


def test_path_and_text(tmp_path):
    (tmp_path / "a.yaml").write_text("x: 1\nx: 2\n")
    with pytest.raises(StrictYamlError, match=r"a\.yaml:2:1: key 'x' is given twice \(first on line 1\)"):
        read_file(tmp_path / "a.yaml")
    (tmp_path / "a.yaml").write_bytes(b"x: \xff")
    with pytest.raises(StrictYamlError, match="not UTF-8"):
        read_file(str(tmp_path / "a.yaml"))


def test_aliases_copy():
    data, _ = read_text("a: &x [1, 2]\nb: *x\n")
    assert data == {"a": [1, 2], "b": [1, 2]} and data["a"] is not data["b"]


BOMB = "a: &a [x, x, x, x, x, x, x, x]\n" + "".join(
    f"{c}: &{c} [{', '.join(['*' + chr(ord(c) - 1)] * 7)}]\n" for c in "bcdefghij")


@pytest.mark.parametrize(("text", "problem", "line", "column"), [
    ("a: 1\nb: 2\na: 3\n", "given twice", 3, 1),
    ("a: {b: 1, b: 2}\n", "given twice", 1, 11),
    ("a: .nan\n", "finite", 1, 4),
    ("a: -.inf\n", "finite", 1, 4),
    ("a: 1e999\n", "finite", 1, 4),
    ("a: !!python/object:os.system x\n", "tag", 1, 4),
    ("a: 1\n---\nb: 2\n", "second document", 2, 1),
    ("a:\n\tb: 1\n", "tab", 2, 1),
    ("? [1, 2]\n: 3\n", "single value", 1, 3),
    ("a: *nowhere\n", "alias", 1, 4),
    ("a: &x [*x]\n", "alias", 1, 8),
    ("a: [1, 2\n", "expected", 2, 1),
    ("a: \x07\n", "not YAML text", 1, 4),
    ("[" * 5000, "nested deeper", 1, 41),
    ("a: " + "9" * 5000, "digits", 1, 4),
    ("- x\n" * 20_001, "more than 20,000 values", 20_000, 3),
])
def test_refusals(text, problem, line, column):
    with pytest.raises(StrictYamlError, match=problem) as info:
        read_text(text)
    assert (info.value.line, info.value.column) == (line, column)


def test_alias_bomb():
    with pytest.raises(StrictYamlError, match="aliases|values"):
        read_text(BOMB)


def test_size(tmp_path):
    with pytest.raises(StrictYamlError, match="limit"):
        read_text("#" * (2 << 20))
    (tmp_path / "a.yaml").write_text("a: [1, 2, 3]\n")
    assert read_file(tmp_path / "a.yaml", max_bytes=13, max_nodes=6)[0] == {"a": [1, 2, 3]}
    with pytest.raises(StrictYamlError, match=r"a\.yaml:1:1: 13 bytes > limit 12"):
        read_file(tmp_path / "a.yaml", max_bytes=12)
    with pytest.raises(StrictYamlError, match=r"1:11: more than 5 values"):
        read_file(tmp_path / "a.yaml", max_nodes=5)


def test_place_of_what_is_not_text(tmp_path):
    (tmp_path / "a.yaml").write_bytes("a: 1\né: ".encode() + b"\xff")
    with pytest.raises(StrictYamlError, match=r"a\.yaml:2:4: not UTF-8 text \(byte 9\)"):
        read_file(tmp_path / "a.yaml")
