# Two commands do all the set-up on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
FORMAT ?= full
DEMO := mixtral-example

.PHONY: demo test test-ray lint docs bench crash soak fuzz mutants golden clean

demo: $(VENV)/.installed
	@rm -rf $(DEMO)
	@set -x; $(BIN)/mapengine run mappings/mixtral.yaml
	@set -x; $(BIN)/mapengine plan mappings/mixtral.yaml --source $(DEMO)/source
	@set -x; $(BIN)/mapengine verify $(DEMO)/converted

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n auto

# A cluster of two nodes on this machine, and everything that can die in it: about a minute.
test-ray: $(VENV)/.installed-ray
	MAPENGINE_TEST_RAY=1 $(BIN)/python -m pytest -p no:xdist tests/cluster

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mapengine schema --check mapengine/mapping.schema.json
	$(BIN)/mapengine validate mappings --format $(FORMAT)

docs: $(VENV)/.installed-docs
	$(BIN)/zensical build --strict --config-file mkdocs.yml

bench: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks

# Every system call, random moments, power cuts, too little memory: about ten minutes; root and strace
# for all of it.
crash: $(VENV)/.installed-dev
	$(BIN)/python tests/reliability/crash_sweep.py
	$(BIN)/python tests/reliability/random_kills.py --kills 1000
	$(BIN)/python tests/reliability/power_cuts.py --cuts 200
	$(BIN)/python tests/reliability/memory_limit.py

# Random mappings on random checkpoints, killed at random, taken there and back; what fails is kept.
SOAK_MINUTES ?= 10
soak: $(VENV)/.installed-dev
	$(BIN)/python tests/reliability/soak.py --minutes $(SOAK_MINUTES) $(SOAK_SEED:%=--seed %)

# Inputs at random to every reader, each as long as the others; what crashes one is kept.
FUZZ_MINUTES ?= 10
fuzz: $(VENV)/.installed-dev
	PYTHONPATH=.:tests $(BIN)/python -m hostile.fuzz --minutes $(FUZZ_MINUTES)

# Every small mistake in every mapping that ships: half an hour.
mutants: $(VENV)/.installed-dev
	$(BIN)/python tests/mutants/hunt.py

golden: $(VENV)/.installed-dev
	$(BIN)/python tests/golden/regenerate.py
	$(BIN)/python tests/library/regenerate.py
	git diff --exit-code --stat tests/golden/digests tests/library/digests
	$(BIN)/python tests/golden/convert_cases.py build/golden
	$(BIN)/python tests/golden/regenerate.py --check build/golden/*

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo 'installing torch, transformers and the rest: about a minute'
	$(PIP) --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo 'installing torch, transformers, the test tools and the rest: about a minute'
	$(PIP) --editable '.[dev]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-ray: $(VENV)/.installed-dev
	$(PIP) --editable '.[dev,ray]'
	@touch $@

$(VENV)/.installed-docs: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable '.[docs]'
	@touch $@

clean:
	rm -rf $(VENV) $(DEMO) .mypy_cache .ruff_cache .pytest_cache .hypothesis
