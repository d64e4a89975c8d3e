# The commands of a contributor. `make` alone lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help run test unit fuzz defences lint fmt bench chaos soak bundle lock clean FORCE

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

# Up to date or not is decided by the script, which also knows which Python is wanted (PYTHON=... names one).
$(STAMP): FORCE
	@$(if $(PYTHON),PYTHON="$(PYTHON)") .ci/environment $(VENV)
FORCE:

run: $(STAMP) ## Show decisions on sample Pods and keep serving; CONFIG=policy.yaml serves against the real SWR
	@$(BIN)/python -m tests.demo $(if $(CONFIG),--config "$(CONFIG)")

test: $(STAMP) ## Run the whole suite in parallel; with KUBEBUILDER_ASSETS also against a real API server
	$(BIN)/python -m tests.support.parallel

unit: $(STAMP) ## Run the fast part of the suite
	$(BIN)/python -m tests.support.parallel tests/unit -m "not slow"

fuzz: $(STAMP) ## Search for a bypass with FUZZ_EXAMPLES inputs per property (default 20000)
	FUZZ_EXAMPLES=$${FUZZ_EXAMPLES:-20000} $(BIN)/python -m pytest tests/fuzz --timeout 0

defences: $(STAMP) ## Remove each defence in a copy and check that its test fails; CASES="T26 T28" selects
	$(BIN)/python -m tests.bypasses $(CASES)

lint: $(STAMP) ## Check style, types, spelling, prose, and the import direction between packages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/python -m tests.support.prose

fmt: $(STAMP) ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP) ## Measure, as ratios against baselines of the same run; BENCH="--docs" writes docs/performance.md
	$(BIN)/python -m tests.bench $(BENCH)

chaos: $(STAMP) ## Break SWR in many ways under load and print the results; ROWS="hole dnshang" selects
	$(BIN)/python -m tests.chaos $(ROWS)

soak: $(STAMP) ## Run load, faults, reloads and hostile clients for SECONDS (default 240) or HOURS; fails on growth
	$(BIN)/python -m tests.chaos.soak --seconds $(if $(HOURS),$$(( $(HOURS) * 3600 )),$(or $(SECONDS),240))

bundle: $(STAMP) ## Build dist/bundle: chart, image, wheels and checksums, for air-gapped clusters
	PYTHON=$(abspath $(BIN)/python) deploy/bundle/make dist/bundle

lock: ## Lock the dependencies again, newest versions (needs uv)
	uv pip compile pyproject.toml --upgrade --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --quiet --output-file requirements/runtime.txt
	uv pip compile pyproject.toml --group test --group lint --group build --constraint requirements/runtime.txt \
		--universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet \
		--output-file requirements/dev.txt

clean: ## Remove what was built
	rm -rf $(VENV) .run dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage
