# Needs Python 3.11 or newer, pip and a package index; the rest goes into .venv, once.
PYTHON ?= python3
MODELS ?= runs/demo
# What benchmarks read: two files of comments, and the columns of the first.
DATA ?= ../shared/data/davidson.csv
LONG_DATA ?= ../shared/data/jigsaw.csv
TEXT ?= tweet
LABEL ?= label
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --constraint constraints.txt

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help demo serve test check bench bench-serving bench-serve bench-training bench-sample bench-methods clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1|/' | awk -F'|' '{printf "make %-15s %s\n", $$1, $$2}'

demo: $(VENV)/.train ## train, compare and report on the comments that come with distilora, into runs/demo
	$(BIN)/distilora compare experiments/sample.toml --out runs/demo

serve: $(VENV)/.serve ## API and web page over the models of MODELS=runs/demo
	$(BIN)/distilora serve $(MODELS)

test: $(VENV)/.dev ## every test
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

test-chaos: $(VENV)/.dev ## twenty seeded kills of each long job; its end must be that of an undisturbed one
	$(BIN)/python benchmarks/chaos.py --kills 20 --out build/chaos.json

check: $(VENV)/.dev ## form, lint, types, and who may import whom
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench: bench-serving bench-serve bench-training bench-sample ## every benchmark

bench-serving: $(VENV)/.train ## the int8 odd student against torch, on DATA=comments.csv and LONG_DATA=comments.csv
	$(BIN)/python benchmarks/serving.py --data "$(DATA)" --text "$(TEXT)" --label "$(LABEL)" --long-data "$(LONG_DATA)" --out build/bench.json

bench-serve: $(VENV)/.dev ## the server under load, and beside a plain torch server, on DATA=comments.csv
	$(BIN)/python benchmarks/serve_load.py --data "$(DATA)" --text "$(TEXT)" --label "$(LABEL)" --out build/bench-serve.json

bench-training: $(VENV)/.train ## distilora's training against the notebook's, on DATA=comments.csv
	$(BIN)/python benchmarks/training.py --data "$(DATA)" --text "$(TEXT)" --label "$(LABEL)" --out build/bench-training.json

bench-methods: $(VENV)/.dev ## every method with three seeds on DATA=comments.csv: hours; goes on where it was stopped
	$(BIN)/python benchmarks/methods.py --data "$(DATA)" --text "$(TEXT)" --label "$(LABEL)" --engine ray --out benchmarks/methods.json --page

bench-scale: $(VENV)/.dev ## score on one worker, two and Ray, a million comments made of DATA=comments.csv
	$(BIN)/python benchmarks/scale.py --data "$(DATA)" --text "$(TEXT)" --label "$(LABEL)" --out build/bench-scale.json

bench-sample: $(VENV)/.train ## teacher against TF-IDF on five folds of the sample
	$(BIN)/python benchmarks/sample_folds.py --out build/bench-sample.json

clean: ## take away .venv, builds and caches; runs/ stays
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests benchmarks scripts -name __pycache__ -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("distilora needs Python 3.11 or newer, this is " + sys.version.split()[0] + ": name one, such as make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)

# PyTorch first and alone, so that the build which the index offers stays, whatever the others ask for.
$(VENV)/.train: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing into $(VENV): a few minutes, once"
	$(PIP) torch
	$(PIP) --editable '.[train]'
	@touch $@

$(VENV)/.serve: $(VENV)/.train
	$(PIP) --editable '.[train,serve]'
	@touch $@

$(VENV)/.dev: $(VENV)/.train
	$(PIP) --editable '.[train,parquet,serve,tune,postgres,ray,dev]'
	@touch $@
