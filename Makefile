# make train   set up, then train:             make train ARGS="--num_envs=256 distill.interval=5"
# make test    set up, then run the tests:     make test ARGS="-m 'not slow'"       (JOBS=0: in one process)
# make check   formatting, lint, types
# make faults  kill trainings, let their writes fail, give bad input:   make faults ARGS="--kills 1000 --writes 100 --cases 2000"
# make gym     set up CPython 3.8 (if there is one) with a double of Isaac Gym's surroundings, for the tests of its worker
# make cpp     set up ONNX Runtime for C++ (if it can be had), for the test of the C++ example
# make browser set up a browser (if it can be had), for the test of the web viewer: Chromium of the system, 0.4 GB
#
# Variables:   PYTHON    the interpreter to build .venv with (>= 3.11; looked for if not given)
#              JOBS      processes that run the tests
#              PIP_ARGS  more arguments for pip, such as --no-index --find-links=DIR

SHELL := /bin/bash
VENV := .venv
GYM_VENV := .venv38
BIN := $(VENV)/bin
PYTHON ?=
ARGS ?=
JOBS ?= 2
PIP_ARGS ?=
SOURCES := setup.py pyproject.toml constraints.txt

.PHONY: train test check format faults gym cpp browser clean

train: $(VENV)/.installed
	@$(BIN)/python train.py --task=parkour_depth $(ARGS)

test: $(VENV)/.installed-test
	@$(BIN)/python -m pytest --numprocesses=$(JOBS) $(ARGS)

check: $(VENV)/.installed-test
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/pyright

format: $(VENV)/.installed-test
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

faults: $(VENV)/.installed-test
	@$(BIN)/python tests/faults $(ARGS)

gym:
	@if .ci/python38 >/dev/null; then $(MAKE) --no-print-directory $(GYM_VENV)/.installed; \
	else echo "no Python 3.8 here: tests run Isaac Gym's worker in their own Python"; fi

cpp: $(VENV)/.installed-test
	@if problem=$$(.ci/onnxruntime $(VENV)/onnxruntime $(BIN)/python); then :; \
	else echo "$$problem; the test of the C++ example is skipped"; fi

browser: $(VENV)/.installed-test
	@if problem=$$(PIP_ARGS="$(PIP_ARGS)" .ci/browser $(BIN)/python); then :; \
	else echo "$$problem; the test of the web viewer in a browser is skipped"; fi

clean:
	rm -rf $(VENV) $(GYM_VENV) build dist *.egg-info .pytest_cache .ruff_cache

# The stamps say what is installed; they are renewed when what is to be installed changes.

$(VENV)/.installed: $(SOURCES)
	@.ci/venv $(VENV) $(PYTHON)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-test: $(SOURCES)
	@.ci/venv $(VENV) $(PYTHON)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e ".[test]"
	@touch $(VENV)/.installed $@

$(GYM_VENV)/.installed: tests/doubles/requirements.txt
	@echo "creating $(GYM_VENV) (800 MB to load, 1.8 GB)"
	@"$$(.ci/python38)" -m venv --clear $(GYM_VENV)
	@$(GYM_VENV)/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) --no-deps -r $<
	@touch $@
