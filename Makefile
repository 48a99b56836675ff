# Two commands: `make demo` runs the main job on the embedded default, `make test` checks everything.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# The oldest Python of a device (JetPack 6) and the ONNX Runtime that it gets, for the tests of attacks.
PYTHON310 ?= $(firstword $(wildcard /usr/bin/python3.10 /usr/local/bin/python3.10 $(HOME)/.pyenv/versions/3.10.*/bin/python3.10))
ifneq ($(PYTHON310),)
DEVICE := $(VENV)/device-3.10
endif
ifeq ($(shell uname -s),Linux)
BINDINGS := $(addprefix $(VENV)/tensorrt-bindings/, 8.6.1 10.3.0 10.13.3.9 11.4.0.106)
endif

# Every stage is a child process that imports its libraries: without kept bytecode torch compiles anew in each.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test lint bench docs gpu dist clean

demo: $(STAMP)
	$(BIN)/edgewright demo -o build/demo
	$(BIN)/edgewright demo --task detect -o build/demo-detect

# Two at once: most tests start children of their own, so more only take memory from one another.
test: $(STAMP) $(BINDINGS) $(DEVICE) lint
	$(BIN)/python -m pytest -n 2 --dist loadgroup $(PYTEST)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

bench: $(STAMP)
	$(BIN)/python -m pytest tests/perf --benchmark-only -p no:randomly

# The documentation site in build/site, without a network; open build/site/index.html.
docs: $(STAMP)
	$(BIN)/python docs/generate
	$(BIN)/zensical build --strict --clean

# On a machine with an NVIDIA GPU; ten minutes at most. ONNX Runtime's GPU build goes beside the other, for its part alone.
gpu: $(STAMP)
	-test -d $(VENV)/gpu || $(BIN)/uv pip install -q -p $(BIN)/python --no-deps --target $(VENV)/gpu onnxruntime-gpu
	EDGEWRIGHT_GPU_PACKAGES=$(abspath $(VENV))/gpu $(BIN)/python tests/gpu/measure.py docs/benchmarks/gpu.md

# What a release consists of, built and checked; TAG=v1.2.3 must be the version. CONTRIBUTING.md has the steps around it.
dist: $(STAMP)
	$(BIN)/uv pip install -q -p $(BIN)/python -e '.[release]' -c constraints.txt
	rm -rf dist build/sbom && mkdir -p dist
	$(BIN)/python .ci/release_notes.py $(TAG) > dist/notes.md
	$(BIN)/python -m build -q -o dist
	$(BIN)/twine check --strict dist/*.whl dist/*.tar.gz
	$(BIN)/uv venv -q --clear -p $(BIN)/python build/sbom
	$(BIN)/uv pip install -q -p build/sbom/bin/python dist/*.whl
	version=$$($(BIN)/edgewright --version | cut -d' ' -f2) && \
	  sed "s/^dynamic = .*/version = \"$$version\"/" pyproject.toml > build/named.toml && \
	  $(BIN)/cyclonedx-py environment --output-reproducible --mc-type library --pyproject build/named.toml \
	  -o dist/edgewright-$$version.cdx.json build/sbom/bin/python
	$(BIN)/python -m pytest tests/test_layout.py tests/test_install.py tests/test_release.py

$(VENV)/bin/uv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q uv

$(STAMP): $(VENV)/bin/uv pyproject.toml constraints.txt
	$(BIN)/uv pip install -q -p $(BIN)/python -e '.[dev]' -c constraints.txt
	touch $@

$(VENV)/device-3.10: $(STAMP)
	$(BIN)/uv venv -q --clear --python $(PYTHON310) $@
	$(BIN)/uv pip install -q -p $@/bin/python numpy Pillow msgspec 'onnxruntime==1.23.*' typer rich tomli

# The interfaces of the TensorRT versions of JetPack 6 and 7, a megabyte each, to check our use of them against.
$(VENV)/tensorrt-bindings/10.%: $(STAMP)
	$(BIN)/uv pip install -q -p $(BIN)/python --no-deps --target $@ tensorrt-cu12-bindings==10.$*
$(VENV)/tensorrt-bindings/11.%: $(STAMP)
	$(BIN)/uv pip install -q -p $(BIN)/python --no-deps --target $@ tensorrt-cu13-bindings==11.$*
# 8.6 (JetPack 5) has none for Python 3.12 and later: there its check is left out.
$(VENV)/tensorrt-bindings/8.6.1: $(STAMP)
	-$(BIN)/uv pip install -q -p $(BIN)/python --no-deps --target $@ tensorrt-bindings==8.6.1

clean:
	rm -rf build dist $(VENV)
