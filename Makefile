# Countermark: `make demo` to see it work, `make test` to check it. Needs make and Python 3.11 or newer.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Workers of the test run; `make test JOBS=0` runs everything in one process.
JOBS ?= auto
# Where `make bench` writes, and the photographs it marks: by default those in scikit-image's wheel, which are too few
# for a claim and enough to see it run.
BENCH_OUT ?= build/bench
IMAGES ?= $(BENCH_OUT)/photos

PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt -e
TEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS)
CODE := src tests benchmarks examples scripts

.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow check bench contracts analyze clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

# Stamp files keep repeated calls from reinstalling; a change of the pins or of the metadata does.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Countermark needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml constraints.txt | $(BIN)/python
	@echo 'installing the demo into $(VENV): some minutes on the first run'
	$(PIP_INSTALL) '.[demo]'
	@touch $@

# The development environment contains the demo's, hence both stamps.
$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo 'installing the development environment into $(VENV): some minutes on the first run'
	$(PIP_INSTALL) '.[dev]'
	@touch $(VENV)/.demo $@

# The packages that benchmarks compare with.
$(VENV)/.bench: $(VENV)/.dev
	$(PIP_INSTALL) '.[bench]'
	@touch $@

install: $(VENV)/.dev ## create .venv with everything that development needs

demo: $(VENV)/.demo ## run the whole path on real pictures, the market, a language model, an audit
	$(BIN)/countermark demo
	$(BIN)/countermark demo market
	$(BIN)/countermark demo text
	$(BIN)/countermark demo audit

test: $(VENV)/.dev ## run the default tests
	$(TEST)

test-slow: $(VENV)/.dev ## run the long statistical and fault tests
	$(TEST) -m slow

check: $(VENV)/.dev ## run the linters, the type checker, the layer and licence checks
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/check_licenses.py
	$(BIN)/codespell -L fpr,conditionsof --skip '*.json,*.po,*.svg,node_modules,./build,./dist,./demo-*'

bench: $(VENV)/.bench ## run every benchmark; IMAGES=DIR for your own photographs
	@mkdir -p $(BENCH_OUT)/photos
	@cp $(addprefix $(VENV)/lib/python3*/site-packages/skimage/data/,astronaut.png chelsea.png coffee.png rocket.jpg) $(BENCH_OUT)/photos
	$(BIN)/python -m benchmarks.evidence_log --json $(BENCH_OUT)/evidence_log.json
	$(BIN)/python -m benchmarks.register --json $(BENCH_OUT)/register.json
	$(BIN)/python -m benchmarks.exchange --json $(BENCH_OUT)/exchange.json
	$(BIN)/python -m benchmarks.ledger --json $(BENCH_OUT)/ledger.json
	$(BIN)/python -m benchmarks.image_marks --images $(IMAGES) --json $(BENCH_OUT)/image_marks.json
	$(BIN)/python -m benchmarks.image_marks --images $(IMAGES) --null 40 --json $(BENCH_OUT)/image_marks_null.json
	$(BIN)/python -m benchmarks.image_marks --images $(IMAGES) --trace 12 --json $(BENCH_OUT)/image_marks_traces.json
	$(BIN)/python -m benchmarks.image_marks --images $(IMAGES) --batch 8 --json $(BENCH_OUT)/image_marks_batch.json
	$(BIN)/python -m benchmarks.noise_marks --limit 4 --pictures 200 --json $(BENCH_OUT)/noise_marks.json
	$(BIN)/python -m benchmarks.text_marks --quick --json $(BENCH_OUT)/text_marks.json
	$(BIN)/python -m benchmarks.memorization --quick --json $(BENCH_OUT)/memorization.json

contracts: ## recompile the contracts and compare with what is shipped (needs Node.js)
	cd contracts && npm ci --no-audit --no-fund && node compile.mjs --check

# Slither is AGPL-3.0: a program of its own in an environment of its own, never a dependency of the package.
build/analysis/.done: contracts/analysis-requirements.txt
	$(PYTHON) -m venv build/analysis
	build/analysis/bin/python -m pip install --disable-pip-version-check --quiet --no-deps -r $<
	@touch $@

contracts/node_modules: contracts/package-lock.json
	cd contracts && npm ci --no-audit --no-fund
	@touch $@

analyze: build/analysis/.done contracts/node_modules ## run the static analyser on the contracts (needs Node.js)
	$(PYTHON) scripts/analyze_contracts.py

clean: ## remove the environment and everything that was built
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis contracts/node_modules tests/node/node_modules
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +
