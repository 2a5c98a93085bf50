# Two commands matter: `make demo` and `make test`. Everything installs into .venv; nothing else is touched.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
ARGS   ?=
JOBS   ?= 2
SOAK_MINUTES ?= 30

.PHONY: demo test check unit soak bench docs site protos judges image-check arm64 wheel clean

$(VENV)/.demo: pyproject.toml
	@bash scripts/venv.sh "$(PYTHON)" "$(VENV)"
	@echo "Installing Broadaxe and the official Python SDK into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[demo]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt
	@bash scripts/venv.sh "$(PYTHON)" "$(VENV)"
	@echo "Installing Broadaxe and the test tools into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@ $(VENV)/.demo

demo: $(VENV)/.demo  ## an engine, a worker, three workflows and their traces; ARGS=--once ends after the job, --apart runs two servers
	@$(BIN)/python examples/demo/run.py $(ARGS)

test: check  ## everything; JOBS is how many tests run side by side
	@bash scripts/test.sh $(BIN) $(JOBS) $(ARGS)

check: $(VENV)/.dev  ## the gates: format, lint, types, room borders, generated files, unit and property tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/generate.py --check
	$(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile tests/unit tests/property

unit: $(VENV)/.dev
	$(BIN)/python -m pytest -q tests/unit $(ARGS)

soak: $(VENV)/.dev  ## the fault tests at their full dose: 2,000 tasks under 20 kill -9, and more; new examples for the properties; then 30 minutes of 200 connections
	BROADAXE_SOAK=1 $(BIN)/python -m pytest -s tests/faults $(ARGS)
	BROADAXE_SOAK=1 $(BIN)/python -m pytest -q tests/property tests/unit
	$(BIN)/python -m bench.soak --minutes $(SOAK_MINUTES)

bench: $(VENV)/.dev  ## the table of figures; a few minutes
	$(BIN)/python -m bench.run $(ARGS)

docs: $(VENV)/.dev  ## write every generated page and module anew
	$(BIN)/python scripts/generate.py

site: $(VENV)/.dev  ## the documentation as a site in build/site; nothing is fetched
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet --site-dir build/site

protos: docs

judges: $(VENV)/.dev  ## programs that judge us, built with Go, and PostgreSQL 15 to 17, into a cache outside the tree; some minutes, once
	$(BIN)/python -m tests.judges
	$(BIN)/python -m tests.postgres_versions

image-check: $(VENV)/.dev  ## builds and runs the images with podman; ARCH=arm64 for the other processor; minutes
	BROADAXE_IMAGES="$(or $(IMAGES),1)" BROADAXE_IMAGES_ARCH="$(ARCH)" $(BIN)/python -m pytest -q -s tests/deploy/test_images.py $(ARGS)

arm64:  ## the demo and a good part of the tests on Debian 12 for arm64, emulated where this machine is another; half an hour
	@bash scripts/arm64.sh

wheel: $(VENV)/.dev
	$(BIN)/python -m build --wheel

clean:
	rm -rf $(VENV) build dist .broadaxe .mypy_cache .ruff_cache .pytest_cache .hypothesis
