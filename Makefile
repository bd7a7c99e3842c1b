# Two commands on a fresh machine with Python 3.11:  make demo   make test
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test docs proof install lint clean

demo: install
	$(BIN)/tutelage demo

test: install
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --max-worker-restart 0

docs: install
	$(BIN)/zensical build --strict

proof: install
	for table in scaling methods pairs teachers students labels families; do $(BIN)/python benchmarks/proof/$$table.py || exit 1; done
	$(BIN)/python benchmarks/proof/tables.py

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[demo,dev]'
	touch $@

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/deptry .
	$(BIN)/basedpyright --level error

clean:
	rm -rf $(VENV) dist site .cache .pytest_cache .ruff_cache .import_linter_cache
