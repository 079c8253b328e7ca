# `make` without a target lists the targets. Everything is installed into .venv; outside this folder only pip's cache
# is changed.
.DEFAULT_GOAL := help
.PHONY: help setup test coverage format docs quickstart clean

# Set PYTHON to choose one. Otherwise: that of a .venv that is there, or the first on PATH that set-up accepts.
PYTHONS := $(or $(PYTHON),.venv/bin/python python3 python python3.13 python3.12 python3.11 python3.10)

help:
	@echo "make quickstart  set up what is missing, then train and compare a small network (a few minutes)"
	@echo "make setup       set up what is missing: .venv with torch, torchvision, BasicSR and this plugin"
	@echo "make test        set up what is missing, then run the linter, the type checker and the tests"
	@echo "make coverage    run the tests and print the lines of the package that they do not reach"
	@echo "make docs        set up what is missing, then build the guides and the reference into site/"
	@echo "make format      format the code with ruff, and apply its automatic fixes"
	@echo "make clean       delete .venv, the link basicsr and caches; experiments, results and datasets stay"
	@echo "PYTHON=python3.12 after any of them names the Python (3.10 to 3.13) that .venv is made with."

# If none is accepted, the first that starts at all runs set-up nevertheless, which says what is wrong with it.
setup:
	@for python in $(PYTHONS); do \
	  if $$python scripts/setup_env.py --fits 2>/dev/null; then exec $$python scripts/setup_env.py; fi; \
	done; \
	for python in $(PYTHONS); do \
	  if $$python -c '' 2>/dev/null; then exec $$python scripts/setup_env.py; fi; \
	done; \
	echo "set-up stopped: no Python starts (tried: $(PYTHONS))." >&2; \
	echo "Install Python 3.10, 3.11, 3.12 or 3.13, or name it: make setup PYTHON=/path/to/python3.12" >&2; \
	exit 1

test: setup
	.venv/bin/python -m ruff check .
	.venv/bin/python -m ruff format --check .
	.venv/bin/python -m mypy
	.venv/bin/python -m pytest -n 2

coverage: setup
	.venv/bin/python -m pytest -n 2 --cov --cov-report=term-missing:skip-covered

format: setup
	.venv/bin/python -m ruff check --fix .
	.venv/bin/python -m ruff format .

# `make test` builds it, too: tests/docs.
docs: setup
	NO_MKDOCS_2_WARNING=1 .venv/bin/python -m mkdocs build --strict

quickstart: setup
	.venv/bin/python scripts/quickstart.py

clean:
	rm -rf .venv build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache
	if [ -L basicsr ]; then rm basicsr; fi
