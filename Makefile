# Two commands do everything on a fresh machine with Python 3.11-3.13, make and git:
#   make demo    find tickets on the embedded data set and show the result
#   make test    lint, types and all tests
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test test-slow check lint types language format clean

demo: $(STAMP)
	$(BIN)/tf-lottery run --out runs
	$(BIN)/tf-lottery report digits-mlp --out runs
	$(BIN)/tf-lottery export digits-mlp --out runs --to saved_models/demo --force

# A process of tests for each core, at most four (each takes up to 3 GB); the tests of one file share one. In the order
# of the files: xdist's own puts files of few, slow tests last, where one process waits for another.
test: lint types
	$(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test-slow: $(STAMP)
	$(BIN)/pytest -m slow

check: lint types language

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

language: $(STAMP)
	$(BIN)/pytest tests/test_language.py

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(STAMP): setup.cfg pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[all,test]'
	touch $(STAMP)

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
