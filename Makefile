# Every target makes what it needs. Needed beforehand: make, and Python 3.11 or later with venv.
#   make run PYTHON=python3.13 VENV=.venv313    another Python, in an environment of its own

PYTHON ?= python3
VENV ?= .venv
FILES ?=
ARGS ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install -qq
CODE := gateway tests bench
LOCK := $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-annotate --no-header --quiet --upgrade

.PHONY: help run test test-slow test-all lint check check-all format bench settings lock wheel clean

help: ## Say what there is to make
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

run: $(VENV)/.run ## Serve a demo product, or FILES="path …", until Ctrl-C; prints a link for each
	@exec $(BIN)/download-gateway up $(FILES)

test: $(VENV)/.dev ## Run the tests without slow ones; ARGS="tests/http -k range" for some of them
	@$(BIN)/python -m tests $(ARGS)

test-slow: $(VENV)/.dev ## Run only the slow tests and those that measure time, one after another
	@$(BIN)/python -m tests --slow $(ARGS)

test-all: $(VENV)/.dev ## Run all tests
	@$(BIN)/python -m tests --all $(ARGS)

lint: $(VENV)/.dev ## Check format, lint and types
	@$(BIN)/ruff format --check --quiet . || { echo 'Not formatted as agreed: run "make format".'; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy

check: lint ## Check format, lint, types, tests (as `make test`), and how much of the code they cover
	@$(BIN)/python -m tests --coverage $(ARGS)

check-all: check test-slow ## The same, and the slow tests: what CI runs

format: $(VENV)/.dev ## Format the code and fix what the linter can
	@$(BIN)/ruff check --quiet --fix . ; $(BIN)/ruff format .

bench: $(VENV)/.dev ## Measure this machine; ARGS="--help" shows the commands
	@$(BIN)/python -m bench $(ARGS)

settings: $(VENV)/.run ## Write docs/settings.md and config/gateway.toml anew from the code
	@$(BIN)/python -m gateway.config.reference

wheel: $(VENV)/.run ## Build dist/*.whl
	@rm -rf dist && $(BIN)/hatchling build -t wheel

lock: $(VENV)/.run ## Choose the newest allowed dependencies and write requirements*.txt
	@$(PIP) 'uv>=0.13.9,<0.14'
	@$(LOCK) pyproject.toml -o requirements.txt
	@$(LOCK) --group build -o requirements-build.txt
	@$(LOCK) pyproject.toml --all-extras --group dev -c requirements.txt -c requirements-build.txt -o requirements-dev.txt

clean: ## Remove everything that was made, but not the state in .download-gateway
	@rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage* tests/support/azurite/node_modules tests/support/axe/node_modules
	@find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment, in three steps. A stamp is newer than what it was made from.

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo '$(PYTHON) is not Python 3.11 or later: install one, or name it: make run PYTHON=python3.13'; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo '$(PYTHON) has no venv: install the package python3-venv (apt-get install python3-venv)'; exit 1; }
	@echo "Making the environment $(VENV) …"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.run: $(VENV)/.made requirements.txt requirements-build.txt pyproject.toml
	@echo "Installing the gateway and what it needs into $(VENV) …"
	@$(PIP) --require-hashes -r requirements.txt -r requirements-build.txt
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements-dev.txt
	@echo "Installing what tests and checks need …"
	@$(PIP) --require-hashes -r requirements-dev.txt
	@touch $@
