"""The generated parts of the README and docs/ are what docs/generate.py writes today."""

import importlib.util
import re
from pathlib import Path

import onnx
import pytest
from loaders import backend_nodes

ROOT = Path(__file__).parents[1]


def generator():
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def section(name):
    return re.search(rf"<!-- {name} -->\n(.*?)\n<!-- /{name} -->", (ROOT / "README.md").read_text(), re.DOTALL).group(1)


@pytest.mark.parametrize("name", ["counters", "models", "results", "operators", "speed"])
def test_readme_sections_are_current(name):
    if name == "operators" and onnx.__version__ != backend_nodes.RECORDED_WITH:
        pytest.skip(f"recorded with the node tests of onnx {backend_nodes.RECORDED_WITH}, this is {onnx.__version__}")
    assert section(name) == getattr(generator(), f"{name}_section")(), "run: python docs/generate.py"


@pytest.mark.parametrize("name", ["chips", "benchmarks", "conformance"])
def test_generated_pages_are_current(name):
    assert (ROOT / "docs" / f"{name}.md").read_text() == getattr(generator(), f"{name}_page")(), "run: python docs/generate.py"


def test_links_lead_somewhere():
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "models" / "train" / "README.md"]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"
