# make demo   install into .venv and run a trained policy on two simulated chips
# make test   install and run the tests
# make bench  the benchmarks: every published figure, with its goal
# make results  pruned, event-driven policies against dense ones: docs/results.md (an hour and more; finished games are kept)
# make check  lint, types, and the documentation site, strictly
# make docs   the documentation site, notebooks with their results: build/site/index.html
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin

.PHONY: demo test bench results check docs clean

demo: $(VENV)/.demo
	@$(BIN)/neurosim demo

test: $(VENV)/.test
	@$(BIN)/python -m pytest

bench: $(VENV)/.test
	@$(BIN)/python benchmarks/bench.py

check: $(VENV)/.dev
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/mkdocs build --quiet --strict -f docs/site/mkdocs.yml

docs: $(VENV)/.dev
	@NEUROSIM_EXECUTE_NOTEBOOKS=true $(BIN)/mkdocs build --quiet -f docs/site/mkdocs.yml
	@echo "build/site/index.html"

results: $(VENV)/.test
	@$(BIN)/python -m pip install --quiet 'gymnasium[mujoco]'
	@$(BIN)/python benchmarks/significant_multiplications.py

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "Python 3.10 to 3.13 is needed, $$($(PYTHON) --version) found; set PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "Python's venv is missing; on Debian and Ubuntu: sudo apt install python3-venv"; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.demo: setup.cfg pyproject.toml | $(VENV)/bin/python
	@echo "installing into $(VENV) (once) ..."
	@$(BIN)/python -m pip install --quiet --editable .
	@$(BIN)/python -m pip install --quiet 'gymnasium[box2d]' || echo "Box2D is not to be had; the demo plays CartPole instead"
	@touch $@

$(VENV)/.test: setup.cfg pyproject.toml | $(VENV)/bin/python
	@echo "installing into $(VENV) (once) ..."
	@$(BIN)/python -m pip install --quiet --editable '.[test]'
	@touch $@

$(VENV)/.dev: setup.cfg pyproject.toml | $(VENV)/.test
	@$(BIN)/python -m pip install --quiet --editable '.[test,dev]'
	@touch $@

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .hypothesis .ruff_cache .mypy_cache
