"""The documentation: every page is on the site, every public name in the reference, every example runs."""

import re
from pathlib import Path

import pytest

import neurosim as ns

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def fences(page, language):
    return [body for name, body in FENCE.findall((DOCS / page).read_text()) if name == language]


def test_every_page_is_in_the_navigation():
    listed = set(re.findall(r"[\w/]+\.(?:md|ipynb)", (DOCS / "site" / "mkdocs.yml").read_text()))
    there = {str(path.relative_to(DOCS)) for pattern in ("*.md", "notebooks/*.ipynb") for path in DOCS.glob(pattern)}
    assert there and listed == there


def test_every_public_name_is_in_the_reference():
    named = {name.rpartition(".")[2] for name in re.findall(r"^::: (\S+)$", (DOCS / "reference.md").read_text(), re.MULTILINE)}
    assert set(ns.__all__) <= named


def test_what_the_reference_names_exists():
    from pkgutil import resolve_name

    names = re.findall(r"^::: (\S+)$", (DOCS / "reference.md").read_text(), re.MULTILINE)
    assert len(names) > 40 and all(resolve_name(name) is not None for name in names)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder beside the project's models."""
    (tmp_path / "models").symlink_to(ROOT / "models")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_examples_of_extending_run(folder, capsys):
    (folder / "tiny.yaml").write_text(fences("extend.md", "yaml")[0])
    chip, loader, by_hand, strategy = fences("extend.md", "python")
    exec(chip, {})
    said = capsys.readouterr().out
    assert "cartpole_ppo on tiny: 50 timesteps, 3 cores" in said and ">=" in said
    exec(loader, {})
    # x = (1, 0): relu(1, 0.25, 0) -> 1.25; x = (1, 0.5): relu(0.5, 0.5, 1) -> 2
    assert capsys.readouterr().out.split() == ["[[1.25]", "[2.", "]]"]
    exec(by_hand, {})
    near, far = (int(line.split()[-1]) for line in capsys.readouterr().out.splitlines())
    assert near < far
    exec(strategy, {})
    columns, quadratic = (float(line.split()[-1]) for line in capsys.readouterr().out.splitlines())
    assert quadratic < columns


def test_examples_in_python_elsewhere_compile():
    found = [(page.name, body) for page in sorted(DOCS.glob("*.md")) for body in fences(page.name, "python")]
    assert len(found) > 6
    for name, body in found:
        compile(body, name, "exec")
