# Two commands do everything on a fresh machine with Python 3.11 to 3.13: `make train` and `make test`.
PYTHON ?= python3
ARGS ?=
BIN := .venv/bin

.PHONY: help install install-dev train sweep board test lint type bench bench-gpu clean
.DEFAULT_GOAL := help

help:  ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

install: .venv/.installed  ## make .venv and install the package with what it needs, at the locked versions

.venv/.installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14) and "gesture needs Python 3.11, 3.12 or 3.13: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable .
	@touch $@

install-dev: .venv/.installed-dev  ## add what tests, benchmarks and the extras need

.venv/.installed-dev: .venv/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable '.[dev,data]'
	@touch $@

train: install  ## train on the built-in data set (ARGS="backbone=resnet50" passes overrides)
	$(BIN)/python -m gesture.train data=synthetic experiment=fast $(ARGS)

sweep: install  ## train two backbones at two learning rates on the built-in data set, one after the other
	$(BIN)/python -m gesture.train -m data=synthetic experiment=fast backbone=resnet18,resnet50 optimizer.lr=1e-3,1e-4 $(ARGS)

board: install  ## watch all runs in TensorBoard
	$(BIN)/tensorboard --logdir logs $(ARGS)

test: lint type  ## check style, types and behaviour
	$(BIN)/pytest --numprocesses 2 --dist loadfile $(ARGS)

lint: install-dev  ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: install-dev  ## mypy, strict
	$(BIN)/mypy

bench: install-dev  ## measure speed and memory beside what one would run instead (an hour on two cores)
	$(BIN)/python -m benchmarks.startup
	$(BIN)/python -m benchmarks.data $(ARGS)
	$(BIN)/python -m benchmarks.audit
	$(BIN)/python -m benchmarks.training $(ARGS)
	$(BIN)/python -m benchmarks.profile $(ARGS)
	$(BIN)/python -m benchmarks.memory $(ARGS)
	$(BIN)/python -m benchmarks.accuracy $(ARGS)
	$(BIN)/python -m benchmarks.accuracy plain $(ARGS)

bench-gpu: install-dev  ## the same on a GPU, at full size, with CUDA graphs and ten folds
	$(BIN)/python -m benchmarks.training data.frames=200 $(ARGS)
	$(BIN)/python -m benchmarks.training data.frames=200 backbone=resnet50 $(ARGS)
	$(BIN)/python -m benchmarks.graphs data.frames=20 $(ARGS)
	$(BIN)/python -m benchmarks.folds $(ARGS)
	$(BIN)/python -m benchmarks.profile data.frames=200 data.batch_size=256 $(ARGS)

clean:  ## remove the environment, caches and rendered data; logs stay
	rm -rf .venv data dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
