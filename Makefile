# make demo    run every command on the built-in sample
# make test    the tests
# make check   ruff, mypy and the tests, as CI does
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUNS := runs/demo

.PHONY: demo test check lint clean

$(VENV)/.installed: setup.cfg setup.py pyproject.toml model/_kernels.c model/_kernels.h model/_winograd.c pipeline/_kernels.c pipeline/_kernels.h pipeline/_resize.c
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[test,examples]'
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

demo: $(VENV)/.installed
	rm -rf $(RUNS)
	$(BIN)/python convert/build.py --source sample
	$(BIN)/python train.py --mode lrfind --recipe demo --amp --out $(RUNS)/lrfind
	$(BIN)/python train.py --mode train --recipe demo --amp --max-lr auto --out $(RUNS)/train
	$(BIN)/python train.py --mode eval --data data/sample --amp --checkpoint $(RUNS)/train/best.pt --out $(RUNS)/eval
	$(BIN)/python train.py --mode bench --recipe demo --amp --rounds 3 --seconds 1 --out $(RUNS)/bench
	@echo
	@echo "The demo is complete. Look at:"
	@ls $(RUNS)/*/report.html $(RUNS)/*/*.png | sed 's/^/  /'

test: $(VENV)/.installed-test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: lint test

clean:
	rm -rf $(VENV) data/sample $(RUNS)
