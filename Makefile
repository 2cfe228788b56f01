# make train   set up, then train:             make train ARGS="--num_envs=256 distill.interval=5"
# make test    set up, then run the tests:     make test ARGS="-m 'not slow'"
# make check   formatting, lint, types
#
# Variables:   PYTHON    the interpreter to build .venv with (>= 3.11; looked for if not given)
#              PIP_ARGS  more arguments for pip, such as --no-index --find-links=DIR

SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?=
ARGS ?=
PIP_ARGS ?=
SOURCES := setup.py pyproject.toml constraints.txt

.PHONY: train test check format clean

train: $(VENV)/.installed
	@$(BIN)/python train.py --task=parkour_depth $(ARGS)

test: $(VENV)/.installed-test
	@$(BIN)/python -m pytest $(ARGS)

check: $(VENV)/.installed-test
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/pyright

format: $(VENV)/.installed-test
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache

# The stamps say what is installed; they are renewed when what is to be installed changes.

$(VENV)/.installed: $(SOURCES)
	@.ci/venv $(VENV) $(PYTHON)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-test: $(SOURCES)
	@.ci/venv $(VENV) $(PYTHON)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e ".[test]"
	@touch $(VENV)/.installed $@
