# `make` runs everything and prints the leaderboard; `make test` lints, type-checks and tests, `make test-all` tests all.
PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export DVC_NO_ANALYTICS := true
export HF_HUB_DISABLE_TELEMETRY := 1

.PHONY: all test test-all lint docs constraints bench bench-env clean

all: .venv/installed
	@icebox run

# A worker that died would be replaced, and the rest of its file waited for without end: the run fails there instead
TESTS := python -m pytest -n 2 --dist loadscope --no-loadscope-reorder --max-worker-restart 0

test: .venv/installed-dev lint
	$(TESTS) -m "not slow"

test-all: .venv/installed-dev lint # what CI runs
	$(TESTS)

lint: .venv/installed-dev
	ruff check .
	ruff format --check .
	mypy
	lint-imports

docs: .venv/installed-dev # build/docs/html/index.html, which opens without a server or a network
	@python -m docs.builder

.venv/installed: requirements.txt constraints.txt requirements-nodeps.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Icebox needs Python 3.11 or newer: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	pip install --quiet --disable-pip-version-check -r requirements.txt
	pip install --quiet --disable-pip-version-check --no-deps -r requirements-nodeps.txt
	pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.venv/installed-dev: .venv/installed requirements-dev.txt
	pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

constraints: # write constraints.txt anew from what is installed now
	pip freeze | grep -v -i -E '^(torch|nvidia-[^m]|triton|cuda|gt-all|-e|#)' > constraints.txt

bench-env: .venv-bench/installed

bench: .venv/installed bench-env # hours of a quiet machine are not needed, but a quiet machine is
	python -m benchmarks.few_labels
	python -m benchmarks.reading
	python -m benchmarks.decode
	python -m benchmarks.growing time
	python -m benchmarks.growing memory
	python -m benchmarks.extraction images
	python -m benchmarks.extraction texts

.venv-bench/installed: requirements-bench.txt requirements-nodeps.txt
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/pip install --quiet --disable-pip-version-check -r requirements-bench.txt
	@touch $@

clean: # remove what can be made again; raw data stays
	rm -rf .venv .icebox data/plan data/manifests data/stores data/backbones results/maps results/predictions results/plots reports
