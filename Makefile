# make demo    the coins: in a napari window where there is a display, else headless into demo/
# make test    install what the tests need and run them all, windows included (on a virtual display)
# make bench   measure, and write docs/benchmarks.md
# make study   Dice against minutes of human work (ARGS="--size full" for a GPU), and write docs/study.md
# make lint    ruff, mypy, import contracts
#
# Everything is installed into .venv; PYTHON=… chooses the Python it is made from, ARGS=… is passed on.

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: help venv demo test bench study lint system clean

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

system:
	@PYTHON="$(PYTHON)" sh scripts/system_packages.sh

venv: $(INSTALLED)

$(INSTALLED): setup.cfg pyproject.toml constraints.txt | system
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "napari-weakseg needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python3.11 …"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[all,test,lint]'
	@touch $@

demo: $(INSTALLED)
	$(BIN)/napari-weakseg demo --out demo $(ARGS)

test: $(INSTALLED)
	@if command -v xvfb-run >/dev/null; then \
	  QT_QPA_PLATFORM=xcb xvfb-run -a -s "-screen 0 1400x900x24" $(BIN)/python -m pytest $(ARGS); \
	else $(BIN)/python -m pytest $(ARGS); fi

study: $(INSTALLED)
	$(BIN)/python -m benchmarks study $(ARGS)
	$(BIN)/python -m benchmarks report

bench: $(INSTALLED)
	$(BIN)/python -m benchmarks $(ARGS)

lint: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) build dist demo src/*.egg-info
