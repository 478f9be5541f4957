# Two commands do everything from a fresh clone:
#
#   make quickstart   set up .venv, then its two halves, which also go alone:
#                     make quickstart-build   a small model, built and released from real documents
#                     make quickstart-adapt   a real base, adapted to this machine's own documents in many ways
#   make bases        fetch the two bases that the second half and some recipes start from
#   make test         set up .venv with the test tools, then run every check
#
# Variables (make NAME=value ...):
#   PYTHON   the interpreter that makes the virtual environment, 3.11 or newer (default: python3)
#   TORCH    what pip installs as PyTorch, in the version of constraints.txt. On Linux without a GPU, name the CPU index
#            that PyTorch's site gives, so that pip isn't sent gigabytes of CUDA:
#            make quickstart TORCH="torch==2.13.0 --index-url <that index>"
#   RECIPE   the recipe that `make quickstart-build` runs; OVERRIDES are its stage.field=value
#   BASES    where the two bases are kept; QUESTION is what `make quickstart-adapt` asks at its end
#   WORKERS  processes that pytest uses

PYTHON ?= python3
TORCH ?= torch==2.13.0
RECIPE ?= recipes/quickstart.yaml
OVERRIDES ?=
BASES ?= .cache/bases
QUESTION ?= What does logging.getLogger do?
WORKERS ?= 2

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# What decides the environment's contents: touch one of these and the next command installs again.
PINS := pyproject.toml constraints.txt

.DEFAULT_GOAL := help
.PHONY: help quickstart quickstart-build quickstart-adapt bases test lint format bench clean

help:
	@sed -n 's/^# \{0,1\}//p' Makefile | sed '/^What decides/,$$d'

# Without a way to the bases (exit code 3) the first half still counts.
quickstart: quickstart-build
	@$(BIN)/python tools/fetch_bases.py $(BASES); status=$$?; \
	if [ $$status = 3 ]; then \
	  echo "The second half needs two bases that can't be fetched now; later: make quickstart-adapt" >&2; \
	elif [ $$status = 0 ]; then $(MAKE) --no-print-directory quickstart-adapt; \
	else exit $$status; fi

quickstart-build: $(VENV)/.installed
	$(BIN)/bedplate run $(RECIPE) $(OVERRIDES)

bases: $(BIN)/python
	$(BIN)/python tools/fetch_bases.py $(BASES)

quickstart-adapt: $(VENV)/.installed bases
	$(BIN)/bedplate run recipes/quickstart-adapt.yaml base.source=$(BASES)/smollm2 encoder.source=$(BASES)/minilm
	$(BIN)/bedplate chat runs/quickstart-adapt/answers --temperature 0 --prompt "$(QUESTION)"

test: lint
	$(BIN)/python -m pytest -n $(WORKERS)

lint: $(VENV)/.installed-test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed-test
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(VENV)/.installed
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/train_step.py run

clean:
	rm -rf $(VENV) .cache build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Bedplate needs Python 3.11 or newer; name one: make PYTHON=python3.12 ..." >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

# PyTorch goes first and alone: TORCH may name another index, which must not serve anything else. The build backend is
# pinned and installed too, so that the editable install fetches nothing that constraints.txt doesn't name.
$(VENV)/.torch: $(BIN)/python constraints.txt
	$(PIP) install $(TORCH)
	$(PIP) install --quiet -c constraints.txt setuptools
	@touch $@

$(VENV)/.installed: $(VENV)/.torch $(PINS)
	$(PIP) install --quiet -c constraints.txt --no-build-isolation --editable '.[all]'
	@touch $@

$(VENV)/.installed-test: $(VENV)/.torch $(PINS)
	$(PIP) install --quiet -c constraints.txt --no-build-isolation --editable '.[test]'
	@touch $@ $(VENV)/.installed
