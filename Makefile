# `make run` and `make test` are all that a newcomer needs; the rest are a developer's habits.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOWEST := .venv-lowest

.PHONY: run test quick test-all test-lowest lint format types results bench docs pictures clean

run: $(VENV)/installed
	$(BIN)/lit-course fit --config configs/mlp_digits.yaml --test_best true
	@echo
	@echo "Look at the curves:   $(BIN)/tensorboard --logdir lightning_logs"
	@echo "Go on, on images:     $(BIN)/lit-course fit --config configs/mlp_fashion_mnist.yaml"

test: lint types
	$(BIN)/pytest -n auto -m "not slow"

# The parts alone, in two minutes: no whole commands.
quick: lint types
	$(BIN)/pytest -n auto -m "not slow and not command"

test-all: lint types
	$(BIN)/pytest -n auto

# At the lowest version of every dependency that pyproject.toml allows, in a venv of its own.
test-lowest: $(LOWEST)/installed
	$(LOWEST)/bin/pytest -n auto -m "not slow"

lint: $(VENV)/installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check

format: $(VENV)/installed
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

types: $(VENV)/installed
	$(BIN)/mypy

# Runs every configuration and every lesson, and records the figures that headers and docs quote.
results: $(VENV)/installed
	$(BIN)/python -m benchmarks.results
	$(BIN)/python -m benchmarks.lessons

# Measures the program beside what else its users could run; rewrites docs/performance.json. Peers
# of .[bench] are measured where they are installed.
bench: $(VENV)/installed
	$(BIN)/python -m benchmarks

# The manual as HTML, warnings as errors.
docs: $(VENV)/installed
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build
	@echo "docs/_build/index.html"

pictures: $(VENV)/installed
	$(BIN)/python -m benchmarks.pictures
	$(BIN)/python -m benchmarks.lessons

clean:
	rm -rf $(VENV) $(LOWEST) build dist docs/_build docs/configuration *.egg-info .pytest_cache .mypy_cache .ruff_cache

# Made anew whenever the dependencies change.
$(VENV)/installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

$(LOWEST)/installed: pyproject.toml tests/lowest_versions.py
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python tests/lowest_versions.py > $(LOWEST)/constraints.txt
	$(LOWEST)/bin/python -m pip install --quiet --upgrade pip
	$(LOWEST)/bin/python -m pip install --quiet --constraint $(LOWEST)/constraints.txt --editable '.[dev]'
	touch $@
