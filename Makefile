# Two commands do everything on a fresh Linux machine with Python 3.11+:
#   make demo    install, then train, compile and verify a spiking classifier on NumPy and Lava
#   make test    install, then the test suite
MODERN := -c 'import sys; sys.exit(sys.version_info < (3, 11))'
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do $$p $(MODERN) 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
# A path, not a finder: `python tests/SCRIPT.py` would else take tests/neuromorphic for the package of that name.
EDITABLE := --config-settings editable_mode=compat
# A folder with MNIST, spoken digits and the Loihi trace, for the tests that use real data; see docs/data.md.
export PNBX_DATA ?= $(abspath ../shared/data)

.DEFAULT_GOAL := help
.PHONY: help demo test test-run-only test-wheel stream bench fuzz install lava lint examples docs clean

help:
	@echo "make demo      train, raster, compile, Lava run, verified (the main job; under 5 minutes after installation)"
	@echo "make test      the test suite"
	@echo "make test-run-only   the wheel without torch, in an environment of its own"
	@echo "make test-wheel      the same under each Python 3.11 to 3.13 found; TRAIN=3.12: there with torch too (downloads it)"
	@echo "make stream    a million steps of a stream, one by one: memory stays flat (about 30 minutes)"
	@echo "make bench     speed and memory against snnTorch, Norse, SpikingJelly, JAX, ONNX Runtime, OpenVINO, and the machine (20 minutes)"
	@echo "make fuzz      ten minutes of damaged files, which the readers refuse in bounded memory; then 2,000 random networks,"
	@echo "               which the compiler refuses or compiles rightly"
	@echo "make install   only the environment in $(VENV)      make lava   only the Lava side environment"
	@echo "make lint      ruff, mypy, import-linter            make docs   HTML documentation in docs/_build/html"
	@echo "make clean     remove environments and build products (runs/ stays)"

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 or newer on PATH; name one: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 2; }
	@$(PYTHON) $(MODERN) || { echo "error: $(PYTHON) is $$($(PYTHON) --version 2>&1), PNB-X needs 3.11 or newer"; exit 2; }
	$(PYTHON) -m venv $(VENV) || { echo "error: could not make a virtual environment; on Debian and Ubuntu: apt install python3-venv"; exit 2; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt $(EDITABLE) -e '.[test,lint,docs]'
	@# NeuroBench asks for torchaudio, which cannot be imported beside the CPU build of torch; what is used here needs none.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps neurobench
	@touch $@

lava: install
	@$(BIN)/neuromorphic setup-lava

demo: install lava
	@$(BIN)/pnbx-snn demo

test: install lava
	@# A process for each of two cores: many tests start processes of their own and wait for them.
	$(BIN)/python -m pytest -q -n 2 --dist worksteal

test-run-only: install
	$(BIN)/python tests/check_wheel.py --pythons $$($(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')

test-wheel: install
	$(BIN)/python tests/check_wheel.py --train $(TRAIN)

stream: install
	PNBX_LONG=1 $(BIN)/python -m pytest -q -rP tests/neuromorphic/test_streaming.py

bench: install
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt $(EDITABLE) -e '.[bench]'
	@# SpikingJelly asks for torchvision and torchaudio, which nothing here uses.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps spikingjelly
	@# JAX's rivals, in an environment of their own: without it the bench says that they are not installed.
	$(BIN)/python -m venv .venv-jax
	.venv-jax/bin/python -m pip install --quiet --disable-pip-version-check -r studies/bench/jax_requirements.txt
	$(BIN)/python -m studies.bench

fuzz: install
	$(BIN)/python tests/fuzz_readers.py --seconds 600
	$(BIN)/python tests/fuzz_modules.py --count 2000
	PNBX_LONG=1 $(BIN)/python -m pytest -q tests/neuromorphic/executors -k random_programs_of_every_operation

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

examples: install lava
	$(BIN)/python -m pytest -q tests/test_examples.py

docs: install lava
	$(BIN)/sphinx-build -W --keep-going -q -j 2 -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

clean:
	rm -rf $(VENV) .venv-jax build docs/_build docs/api docs/course docs/gallery *.egg-info
