"""The lines that hold the package together: imports go down only, heavy libraries stay inside functions, files stay short."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "neurosim"
FILES = sorted(PACKAGE.rglob("*.py"))

GROUND = {"errors", "units", "counters", "version", "strict_yaml", "whole_file", "mesh"}
NOUNS = {
    "activation",
    "encoders",
    "neurons",
    "host",
    "synapses",
    "network",
    "network_arrays",
    "dense",
    "trace",
    "trace_file",
    "chip",
    "chip_file",
    "chip_rules",
    "chip_schema",
    "program",
    "report",
    "model_card",
}
VERBS = {"loaders", "transforms", "mapping", "simulation", "pricing"}
FLOORS = [GROUND, {"kernels"}, NOUNS, VERBS, {"exporters"}, {"explore", "control"}, {"view"}, {"cli_options", "cli_support", "sb3_callback"}, {"cli_chip", "cli_export", "cli_report", "cli_sweep", "cli_tune"}, {"cli"}, {"__main__"}]
HEAVY = {
    "onnx",
    "onnxscript",
    "onnx_ir",
    "onnxruntime",
    "scipy",
    "gymnasium",
    "h5py",
    "matplotlib",
    "optuna",
    "dask",
    "ale_py",
    "safetensors",
    "torch",
    "pandas",
    "pyarrow",
    "distributed",
    "perfetto",
    "bokeh",
    "jinja2",
}
LIMITS = {"kernels": 700}


def room(path):
    """First name below the package: a folder or a module."""
    relative = path.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def floor(name):
    return next(i for i, names in enumerate(FLOORS) if name in names)


def imports(tree, inside_functions):
    """Imported module names; TYPE_CHECKING blocks are left out."""
    found, stack = [], [(node, False) for node in tree.body]
    while stack:
        node, in_function = stack.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if isinstance(node, ast.Import) and in_function in (inside_functions, False):
            found += [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom) and in_function in (inside_functions, False):
            module = node.module or ""
            found += [module] if module != "neurosim" else [f"neurosim.{alias.name}" for alias in node.names]
        deeper = in_function or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        stack += [(child, deeper) for child in ast.iter_child_nodes(node)]
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down_only(path):
    mine = room(path)
    if mine == "__init__":
        pytest.skip("the front door imports by name, when asked")
    for module in imports(ast.parse(path.read_text()), inside_functions=True):
        if not module.startswith("neurosim."):
            continue
        other = module.split(".")[1]
        if other == mine:
            continue
        assert floor(other) <= floor(mine), f"{mine} imports {other}, which stands above it"
        assert not (mine in VERBS and other in VERBS), f"{mine} and {other} are verbs and never import each other"
        if mine == "kernels":
            raise AssertionError(f"kernels import only numpy, numba and themselves, not {module}")


def test_exporters_are_a_leaf_beside_the_loaders():
    """They import the ground, the nouns and the loaders; only their command imports them."""
    for path in FILES:
        others = {m.split(".")[1] for m in imports(ast.parse(path.read_text()), inside_functions=True) if m.startswith("neurosim.")}
        if room(path) == "exporters":
            assert others <= GROUND | NOUNS | {"loaders", "exporters"}, path
        elif room(path) not in {"cli_export", "sb3_callback"}:
            assert "exporters" not in others, path


def test_exporters_never_unpickle():
    for path in (PACKAGE / "exporters").glob("*.py"):
        assert not {"pickle", "torch", "cloudpickle", "dill", "joblib"} & {m.split(".")[0] for m in imports(ast.parse(path.read_text()), True)}, path


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_heavy_libraries_are_imported_inside_functions(path):
    top = {module.split(".")[0] for module in imports(ast.parse(path.read_text()), inside_functions=False)}
    assert not top & HEAVY


def test_gymnasium_is_imported_by_control_only():
    for path in FILES:
        if "gymnasium" in {m.split(".")[0] for m in imports(ast.parse(path.read_text()), inside_functions=True)}:
            assert room(path) == "control", path


def test_kernels_import_numpy_and_numba_only():
    for path in (PACKAGE / "kernels").glob("*.py"):
        for module in imports(ast.parse(path.read_text()), inside_functions=True):
            assert module.split(".")[0] in {"numpy", "numba", "llvmlite", "neurosim", *sys.stdlib_module_names}, (path, module)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_and_functions_stay_short(path):
    text = path.read_text()
    assert len(text.splitlines()) <= LIMITS.get(room(path), 400)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            docstring = ast.get_docstring(node, clean=False) or ""
            body = node.end_lineno - node.body[0].lineno + 1 - docstring.count("\n")  # the signature is not logic
            assert body <= 60, f"{node.name} has {body} lines"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_public_things_have_docstrings(path):
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree) or path.stat().st_size == 0, "module docstring"
    for node in ast.walk(tree):
        for child in getattr(node, "body", []) if isinstance(node, (ast.Module, ast.ClassDef)) else []:
            if (
                isinstance(child, (ast.FunctionDef, ast.ClassDef))
                and not child.name.startswith("_")
                and not getattr(node, "name", "").startswith("_")
            ):
                assert ast.get_docstring(child), child.name


def test_no_word_of_any_workplace():
    words = ["/wo" + "rk/", "/.libr" + "ary", "sub" + "agent", "this " + "session", "pypi-" + "more"]
    for path in [*FILES, *ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("models/**/*.py"), *ROOT.glob("tests/**/*.py")]:
        text = path.read_text()
        assert not [w for w in words if w in text], path
