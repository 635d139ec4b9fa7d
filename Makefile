# Everything here works in a virtual environment of its own, .venv, made on first use.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)

.PHONY: demo test test-browser test-oldest check build docs constraints clean

# The standard comparison on data that need no network; a few minutes after the installation.
demo: $(READY)
	$(BIN)/prunebench run experiments/digits.yaml --workers 2 --runs runs/digits

test: $(READY) check
	$(BIN)/python -m pytest -m '' -n auto --maxprocesses 8 --dist worksteal

# The pages in a real browser: Chromium of the system, which is installed if it is not there (Debian).
test-browser: $(READY)
	command -v chromium || { $(SUDO) apt-get update && $(SUDO) apt-get install --yes chromium; }
	$(BIN)/pip install --constraint constraints.txt --editable '.[test,browser]'
	$(BIN)/python -m pytest -m browser

# All tests with the oldest versions that setup.cfg allows, in an environment of their own, on
# Python 3.10 or 3.11, by PYTHON=python3.10.
test-oldest: .venv-oldest/ready
	.venv-oldest/bin/python -m pytest -m '' -n auto --maxprocesses 8 --dist worksteal

.venv-oldest/ready: setup.cfg constraints-oldest.txt
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/pip install --constraint constraints-oldest.txt --editable '.[test]'
	touch .venv-oldest/ready

# mypy looks for the package by its name, and the checkout may have any: hence the link.
check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	MYPYPATH=.venv/link $(BIN)/mypy -p prunebench

# The documentation, as docs/_build/index.html; a warning is an error.
docs: .venv/docs-ready
	$(BIN)/sphinx-build --fail-on-warning --fresh-env --quiet -c docs . docs/_build

.venv/docs-ready: $(READY)
	$(BIN)/pip install --constraint constraints.txt --editable '.[docs]'
	touch .venv/docs-ready

$(READY): setup.cfg constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --constraint constraints.txt --editable '.[test,check,transformers,tuning,zero-shot]'
	mkdir -p .venv/link && ln -sfn ../.. .venv/link/prunebench
	touch $(READY)

# The exact versions that `make` installs, from the newest that setup.cfg allows.
constraints:
	rm -rf .venv && $(PYTHON) -m venv .venv
	$(BIN)/pip install --editable '.[test,browser,check,docs,transformers,tuning,zero-shot]'
	$(BIN)/pip freeze --exclude-editable > constraints.txt

clean:
	rm -rf .venv .venv-oldest build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
