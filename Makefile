# The verbs that people and CI share. `make` alone lists them.
PYTHON ?= python3
ARGS ?=
NAME ?=
FUZZ_SECONDS ?= 60

VENV := .venv
PY := $(VENV)/bin/python
RUNTIME := $(VENV)/.installed-runtime
DEV := $(VENV)/.installed-dev
PIP_INSTALL := $(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt \
	--config-settings editable_mode=compat

# worksteal: the tests of a file stay in one process, so what they share is made once.
SIDE_BY_SIDE := --numprocesses auto --maxprocesses 4 --dist worksteal

# Without caches every test process, and every command that a test starts, compiles all anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev demo test test-fast test-gpu fuzz check format bench wheel clean
.DELETE_ON_ERROR:

help: ## list the verbs
	@echo "make VERB [ARGS='more arguments']"
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | \
		awk -F':.*## ' '{ printf "  %-10s %s\n", $$1, $$2 }'

setup: $(RUNTIME) ## install what bauta needs into .venv; quick when nothing changed

setup-dev: $(DEV) ## the same, and what tests and checks need

demo: $(RUNTIME) ## a simulated camera, protected, live in the browser
	$(VENV)/bin/bauta demo $(ARGS)

# Live streams, browsers and faults, in real time, run alone; what is only long runs beside others.
# 5: nothing to run.
test: $(DEV) ## all tests
	@beside=0; alone=0; \
	$(PY) -m pytest $(SIDE_BY_SIDE) -q -m "not slow or untimed" --durations=10 $(ARGS) \
		|| [ $$? = 5 ] || beside=1; \
	$(PY) -m pytest -m "slow and not untimed" --durations=25 $(ARGS) \
		|| [ $$? = 5 ] || alone=1; \
	[ $$beside = 0 ] || echo "tests failed: their summary stands above that of the ones alone" >&2; \
	[ $$beside = 0 ] && [ $$alone = 0 ]

test-fast: $(DEV) ## the tests that take no more than a few seconds each
	$(PY) -m pytest $(SIDE_BY_SIDE) -m "not slow" $(ARGS)

test-gpu: $(DEV) ## the tests that need an NVIDIA GPU; without one they fail
	BAUTA_REQUIRE_GPU=1 $(PY) -m pytest -m gpu $(ARGS)

fuzz: $(DEV) ## bytes from anywhere into the readers of evidence, for FUZZ_SECONDS
	@$(PY) -c 'import atheris' 2>/dev/null || $(PIP_INSTALL) atheris
	PYTHONPATH=.:tests $(PY) tests/fuzz/fuzz_records.py -max_total_time=$(FUZZ_SECONDS) $(ARGS)

check: $(DEV) ## lint, formatting, types
	@failed=0; \
	$(PY) -m ruff check . || failed=1; \
	$(PY) -m ruff format --check . || failed=1; \
	$(PY) -m mypy || failed=1; \
	exit $$failed

format: $(DEV) ## rewrite the sources as `check` wants them
	$(PY) -m ruff check --fix-only --quiet .
	$(PY) -m ruff format .

bench: $(DEV) ## one benchmark: make bench NAME=file
	@test -n "$(NAME)" || { echo "make bench: say which one, for example NAME=file" >&2; exit 2; }
	$(VENV)/bin/bauta bench $(NAME) $(ARGS)

wheel: $(DEV) ## source archive and wheel in dist/
	rm -rf build dist
	$(PY) -m build --no-isolation --outdir dist .

clean: ## remove .venv, builds and caches; recordings and keys stay
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(PY):
	@command -v $(PYTHON) >/dev/null || \
		{ echo "make: $(PYTHON) not found; install Python 3.11 or newer, or say PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "make: Python 3.11 or newer is needed, $(PYTHON) is" \
		"$$($(PYTHON) -V 2>&1); say PYTHON=python3.11 or install one" >&2; exit 1; }
	sh deploy/system-packages.sh venv $(PYTHON)
	$(PYTHON) -m venv $(VENV)

$(RUNTIME): setup.py constraints.txt | $(PY)
	sh deploy/system-packages.sh runtime
	$(PIP_INSTALL) -e .
	@touch $@

$(DEV): setup.py constraints.txt | $(PY)
	sh deploy/system-packages.sh runtime test
	$(PIP_INSTALL) -e '.[dev]'
	@touch $@ $(RUNTIME)
