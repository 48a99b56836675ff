# Two commands: `make demo` runs the main job on the embedded default, `make test` checks everything.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Every stage is a child process that imports its libraries: without kept bytecode torch compiles anew in each.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test lint bench clean

demo: $(STAMP)
	$(BIN)/edgewright demo -o build/demo
	$(BIN)/edgewright demo --task detect -o build/demo-detect

# Two at once: most tests start children of their own, so more only take memory from one another.
test: $(STAMP) lint
	$(BIN)/python -m pytest -n 2 --dist loadgroup $(PYTEST)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP)
	$(BIN)/python -m pytest tests/perf --benchmark-only -p no:randomly

$(VENV)/bin/uv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q uv

$(STAMP): $(VENV)/bin/uv pyproject.toml constraints.txt
	$(BIN)/uv pip install -q -p $(BIN)/python -e '.[dev]' -c constraints.txt
	touch $@

clean:
	rm -rf build dist $(VENV)
