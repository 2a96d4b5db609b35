# `make` lists the targets. Each of them installs what it needs into .venv first.
#
# On Linux, PyPI's torch brings several GB of CUDA libraries. To choose another build, hand pip an index:
#     make setup PIP_ARGS="--extra-index-url URL"      (pytorch.org lists the URL of each build, the CPU one among them)
# An already chosen torch can be put into .venv by hand: a version that constraints.txt admits is kept.

PYTHON ?= python3
VENV ?= .venv
PIP_ARGS ?=
PYTEST_ARGS ?=
WORKERS ?= 2
TABLE_ARGS ?= --data phantom

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO := runs/demo
# One thread a worker: the workers share the cores. NCE_REAL_DATA and NCE_BUNDLE_CHECKS reach the tests as they are set.
PYTEST := OMP_NUM_THREADS=1 MPLBACKEND=Agg $(BIN)/python -m pytest -q -n $(WORKERS) $(PYTEST_ARGS)

.DEFAULT_GOAL := help
.PHONY: help setup demo table1 viewer test test-slow test-all test-monailabel test-nvflare test-deploy nightly lint docs clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP)  ## make .venv with the tested versions of everything

# Bytecode on all cores, where pip would make it on one: without it every command takes three times as long to start, and
# PYTHONDONTWRITEBYTECODE, which many containers set, keeps Python from making it later. Some packages carry files that
# are not for this Python; they stay without.
$(STAMP): setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --prefer-binary --no-compile $(PIP_ARGS) \
		-c constraints.txt -e ".[dev]"
	$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true
	@touch $@

# A training that was stopped goes on, and a finished one is kept.
demo: $(STAMP)  ## train both stages on phantoms, enhance a volume and evaluate: minutes on a CPU; see runs/demo
	$(BIN)/nce demo --output-dir $(DEMO)

# What is there already is taken up, not trained again. Another table: make table1 TABLE_ARGS="--data ixi-like"
table1: $(STAMP)  ## Table 1 of the paper and its figures, on the phantom: half an hour on 2 cores; see runs/table1
	$(BIN)/python -m benchmarks.table1 $(TABLE_ARGS) --resume

# The result is committed, so that nothing else needs npm.
viewer:  ## build the viewer of the HTML page from its sources, with npm
	cd monai_nce/visualize/page/viewer && npm ci --ignore-scripts --no-audit --no-fund && npm run build

test: lint  ## lint and the quick tests
	$(PYTEST) -m "not slow"

# In fresh processes first: where OpenVINO has used AMX, a signal can end a process that is forked from it.
test-slow: $(STAMP)  ## the slow tests
	$(PYTEST) -m slow tests/bundles/test_resume.py tests/handlers
	$(PYTEST) -m slow --ignore=tests/bundles/test_resume.py --ignore=tests/handlers tests

test-all: lint  ## lint and every test
	$(PYTEST)

# Each in an environment of its own; they need NCE_REAL_DATA and skip without.
test-monailabel:  ## MONAI Label: a server that enhances and trains over HTTP
	PYTHON=$(PYTHON) PIP_ARGS="$(PIP_ARGS)" integrations/monailabel/run_test.sh

test-nvflare:  ## NVFlare: a simulation of two sites, and inference with the weights that it makes
	PYTHON=$(PYTHON) PIP_ARGS="$(PIP_ARGS)" integrations/nvflare/run_test.sh

test-deploy:  ## MONAI Deploy: the application on a real scan, its series compared with inferring
	PYTHON=$(PYTHON) PIP_ARGS="$(PIP_ARGS)" integrations/deploy/run_test.sh

nightly: test-monailabel test-nvflare test-deploy  ## every integration, started for real

lint: $(STAMP)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy

docs: $(STAMP)  ## the documentation's site, every link checked; see site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:  ## remove caches, build outputs and runs/demo; keep .venv and other runs
	rm -rf build dist site *.egg-info runs/demo .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .coverage.*
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
