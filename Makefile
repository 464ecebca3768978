# `make train ARGS="task=denoising model=ae"` trains; `make test` tests in minutes, `make test-all` tests everything but
# what `make chaos` does: it kills runs, stops their processes and fills their disks. Each makes the environment first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# READY is there when training can begin, TOOLS when tests and checks can.
READY := $(VENV)/.ready
TOOLS := $(VENV)/.tools
SHARED := --numprocesses auto --dist loadfile  # tests of a file share the runs that they look at

.PHONY: train test test-all chaos coverage check bench docs tutorials clean

train: $(READY)
	$(BIN)/python train.py $(ARGS)

test: $(TOOLS)
	$(BIN)/pytest -m "not long and not chaos" $(SHARED) $(ARGS)

test-all: $(TOOLS)
	$(BIN)/pytest -m "not chaos" $(SHARED) $(ARGS)

# One after another: what is timed here should not wait for a processor.
chaos: $(TOOLS)
	$(BIN)/pytest -m chaos $(ARGS)

# The share of lines and branches that the tests of make test run, by file. Under coverage, a warning of Lightning for
# runs that are shorter than an epoch would be an error.
coverage: $(TOOLS)
	$(BIN)/pytest -m "not long and not chaos" $(SHARED) --cov=vaelab --cov-branch --cov-report=term:skip-covered \
		-W ignore::UserWarning $(ARGS)

check: $(TOOLS)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(READY)
	$(BIN)/python benchmarks/throughput.py $(ARGS)

# The site, in site/; a warning or a dead link is an error.
docs: $(TOOLS)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

# Runs the notebooks of docs/tutorials and saves their outputs: make tutorials ARGS=table
tutorials: $(TOOLS)
	$(BIN)/python docs/tutorials/execute.py $(ARGS)

# Installed anew only when what it is made from changes.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("vaelab needs Python 3.11 or newer; try: make PYTHON=python3.11 ...") if sys.version_info < (3, 11) else 0'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $(READY)

$(TOOLS): $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(TOOLS)

clean:
	rm -rf $(VENV)
