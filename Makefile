# make train   set up, then train:             make train ARGS="--num_envs=256 distill.interval=5"
# make test    set up, then run the tests:     make test ARGS="-m 'not slow'"       (JOBS=0: in one process)
# make check   formatting, lint, types
# make faults  kill trainings, let their writes fail, give bad input:   make faults ARGS="--kills 1000 --writes 100 --cases 2000"
# make gym     set up CPython 3.8 (if there is one) with a double of Isaac Gym's surroundings, for the tests of its worker
# make docs    set up, then build the documentation into build/site, its links checked
# make cpp     set up ONNX Runtime for C++ (if it can be had), for the test of the C++ example
# make test-oldest, test-newest    run the tests with the oldest versions that setup.py allows, or the newest that there are,
#              in an environment of its own (3 GB to load, 6 GB):   make test-oldest PYTHON=3.12
# make mutants change the code in many ways, to see whether tests notice:   make mutants ARGS="listed runs/checkpoint"
# make lock    bring requirements.lock, versions with their files' hashes, in line with setup.py and constraints.txt
# make locked  set up .venv-locked with just those files (CPython 3.11 on x86-64 Linux; 3 GB to load, 6 GB)
# make sbom    write docs/sbom.cdx.json and docs/dependencies.md anew, from requirements.lock
# make browser set up a browser (if it can be had), for the test of the web viewer: Chromium of the system, 0.4 GB
#
# Variables:   PYTHON    the interpreter to build .venv with (>= 3.11; looked for if not given); for test-oldest and
#                        test-newest its version: 3.11, 3.12, 3.13
#              JOBS      processes that run the tests
#              PIP_ARGS  more arguments for pip, such as --no-index --find-links=DIR

SHELL := /bin/bash
VENV := .venv
GYM_VENV := .venv38
TOOLS := .venv-tools
MUTANTS := .venv-mutants
BIN := $(VENV)/bin
PYTHON ?=
ARGS ?=
JOBS ?= 2
PIP_ARGS ?=
SOURCES := setup.py pyproject.toml constraints.txt

.PHONY: train test check format faults gym cpp test-oldest test-newest mutants lock locked sbom docs browser clean

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
	@if .ci/python 3.8 >/dev/null; then $(MAKE) --no-print-directory $(GYM_VENV)/.installed; \
	else echo "no Python 3.8 here: tests run Isaac Gym's worker in their own Python"; fi

cpp: $(VENV)/.installed-test
	@if problem=$$(.ci/onnxruntime $(VENV)/onnxruntime $(BIN)/python); then :; \
	else echo "$$problem; the test of the C++ example is skipped"; fi

docs: $(VENV)/.installed-docs
	@$(BIN)/python -m website $(ARGS)

test-oldest test-newest: test-%: $(TOOLS)/.installed
	@.ci/versions $* "$(or $(PYTHON),3.11)" $(TOOLS)/bin/uv
	@.venv-$*-$(or $(PYTHON),3.11)/bin/python -m pytest --numprocesses=$(JOBS) $(ARGS)

mutants: $(MUTANTS)/.installed
	@$(MUTANTS)/bin/python tests/mutants $(ARGS)

lock: $(TOOLS)/.installed
	@$(TOOLS)/bin/uv pip compile --quiet --no-header --no-annotate --generate-hashes --constraints constraints.txt \
	--python-version 3.11.5 --python-platform x86_64-manylinux_2_28 --all-extras setup.py --output-file requirements.lock

locked: $(TOOLS)/.installed
	@$(TOOLS)/bin/uv venv --quiet --allow-existing --python "$$(.ci/python 3.11 || echo 3.11)" .venv-locked
	@$(TOOLS)/bin/uv pip sync --quiet --python .venv-locked --require-hashes requirements.lock
	@$(TOOLS)/bin/uv pip install --quiet --python .venv-locked --no-deps --no-build-isolation --editable .

sbom: $(TOOLS)/.installed
	@$(TOOLS)/bin/python .ci/dependencies.py

browser: $(VENV)/.installed-test
	@if problem=$$(PIP_ARGS="$(PIP_ARGS)" .ci/browser $(BIN)/python); then :; \
	else echo "$$problem; the test of the web viewer in a browser is skipped"; fi

clean:
	rm -rf $(VENV) $(GYM_VENV) $(TOOLS) $(MUTANTS) .venv-oldest-* .venv-newest-* .venv-locked build dist *.egg-info .pytest_cache .ruff_cache

# The stamps say what is installed; they are renewed when what is to be installed changes.

$(VENV)/.installed: $(SOURCES)
	@.ci/venv $(VENV) $(PYTHON)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-test: $(SOURCES)
	@.ci/venv $(VENV) $(PYTHON)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e ".[test]"
	@touch $(VENV)/.installed $@

$(VENV)/.installed-docs: $(SOURCES)
	@.ci/venv $(VENV) $(PYTHON)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e ".[docs]"
	@touch $(VENV)/.installed $@

$(GYM_VENV)/.installed: tests/doubles/requirements.txt
	@echo "creating $(GYM_VENV) (800 MB to load, 1.8 GB)"
	@"$$(.ci/python 3.8)" -m venv --clear $(GYM_VENV)
	@$(GYM_VENV)/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) --no-deps -r $<
	@touch $@

$(TOOLS)/.installed: .ci/tools.txt
	@.ci/venv $(TOOLS)
	@$(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -r $<
	@touch $@

$(MUTANTS)/.installed: .ci/mutants.txt $(VENV)/.installed-test
	@$(BIN)/python -m venv --clear $(MUTANTS)
	@$(MUTANTS)/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -r $<
	@seen=$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))'); \
	echo "$$seen" > $$(echo $(MUTANTS)/lib/python3.*/site-packages)/tests.pth
	@touch $@
