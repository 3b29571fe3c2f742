# Two commands do everything on a fresh machine with Python 3.11-3.13, make and git:
#   make demo    find tickets on the embedded data set and show the result
#   make test    lint, types and all tests
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
KERNELS := $(wildcard tf_lottery/layers/sparse/*.cpp tf_lottery/layers/sparse/*.inc)

.PHONY: demo test test-slow check lint types language format wheel bill-of-materials audit constraints clean

demo: $(STAMP)
	$(BIN)/tf-lottery run --out runs
	$(BIN)/tf-lottery report digits-mlp --out runs
	$(BIN)/tf-lottery export digits-mlp --out runs --to saved_models/demo --force
	@echo
	@echo "Next:"
	@echo "  $(BIN)/tf-lottery status                            how far the newest run is"
	@echo "  $(BIN)/tf-lottery analyze survivors digits-mlp      which weights the ticket keeps"
	@echo "  $(BIN)/tf-lottery bench saved_models                size and latency of the exported files"
	@echo "  $(BIN)/tf-lottery run --help                        experiments of your own"

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

# The wheel of the last commit in dist/, the same bytes whenever it is built, and bill_of_materials.cdx.json beside it.
wheel: $(STAMP)
	.ci/wheel dist

bill-of-materials: $(STAMP)
	mkdir -p dist
	$(BIN)/python .ci/bill_of_materials.py > dist/bill_of_materials.cdx.json

# ADVISORIES: a folder or zip file of advisories in the OSV format.
audit: $(STAMP)
	$(BIN)/python .ci/audit.py $(ADVISORIES)

# Releases that are pinned stay as they are; delete a line to renew one. Needs uv.
constraints:
	.ci/constraints

# pip checks the SHA-256 of every file of others; an editable installation has no file to check.
$(STAMP): setup.cfg setup.py pyproject.toml constraints.txt $(KERNELS)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	$(BIN)/python -m pip check
	touch $(STAMP)

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
