# make run    make the environment, install, start the proxy
# make demo   the same in front of the built-in simulator, with sample scripts calling it
# make test   install what the tests need and run them all
# make bench  measure it beside other proxies (ARGS="--help" tells how)
# make check  lint, format and types;  make clean   remove what was made
# make dist   build wheel and sdist;   make manual  write docs/ollama-proxy.1, from --help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.PHONY: run demo test bench check dist manual clean

run: $(VENV)/.run
	$(BIN)/ollama-proxy serve $(ARGS)

demo: $(VENV)/.run
	$(BIN)/ollama-proxy demo $(ARGS)

# Three at once also on two cores: most of a test waits for a process, a socket or a page.
test: $(VENV)/.dev chromium
	$(BIN)/python -m pytest -n 3 --dist worksteal $(ARGS)

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks $(ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

dist: $(VENV)/.dev
	$(BIN)/python -m hatchling build

manual: $(VENV)/.run
	$(BIN)/python docs/manual.py

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "Python's venv module is missing; on Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	@touch $@

$(VENV)/.run: $(VENV)/.python pyproject.toml
	@echo "installing ollama-proxy into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	@echo "installing what the tests need into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --group dev
	@touch $@

$(VENV)/.bench: $(VENV)/.run
	@echo "installing what the benchmark needs into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --group bench
	@touch $@

# The browser tests drive a Chromium. Where none is found and none can be installed they are
# skipped, and say so.
.PHONY: chromium
chromium:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || \
	  command -v google-chrome >/dev/null || \
	  { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	    echo "installing Chromium for the browser tests ..." && \
	    apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null; } || \
	  echo "NO CHROMIUM: the browser tests will be skipped. Install one (Debian: apt install chromium)."

clean:
	rm -rf $(VENV) dist build *.egg-info
