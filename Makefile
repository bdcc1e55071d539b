PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help venv demo test lint unit kill-suite service-test soak bench bench-peer bench-tasks conformance differential reference docs clean

help:
	@echo "make demo         run about ten plans on a simulated instrument"
	@echo "make test         everything that continuous integration runs"
	@echo "make lint         the checks of make test without the tests"
	@echo "make unit         the fast tests only"
	@echo "make docs         build the documentation in build/docs"
	@echo "make kill-suite   kill processes at random while 2000 tasks run, 50 times"
	@echo "make service-test the service under a real systemd in name spaces; needs root"
	@echo "make soak         a mixed load for half an hour"
	@echo "make bench        benchmarks of this daemon, about 3 minutes"
	@echo "make bench-peer   the same beside bluesky-queueserver, about 15 minutes"
	@echo "make bench-tasks  benchmarks of the task queue, about 3 minutes"
	@echo "make conformance  the test suites of bluesky-queueserver, against this daemon"
	@echo "make differential the same requests to bluesky-queueserver and to this daemon"
	@echo "make reference    write the generated pages of docs/reference, and systemd/"
	@echo "make venv         make the environment in $(VENV)"
	@echo "make clean        remove the environment and all caches"

define make-venv
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: set PYTHON")'
	$(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV): this takes a few minutes"
endef

$(STAMP): pyproject.toml
	$(make-venv)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

venv: $(STAMP)

# The demonstration needs no tools of developers; where they are, it takes their environment.
DEMO_STAMP := $(if $(wildcard $(STAMP)),$(STAMP),$(VENV)/.demo)
$(VENV)/.demo: pyproject.toml
	$(make-venv)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bluesky]'
	touch $@

demo: $(DEMO_STAMP)
	$(BIN)/remanager demo

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# PROCESSES: so many run the tests, each file in one of them.
PROCESSES ?= 2
test: lint docs
	$(BIN)/pytest --numprocesses $(PROCESSES) --dist loadfile

unit: $(STAMP)
	$(BIN)/pytest tests/unit

docs: $(STAMP)
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going docs build/docs

# KILL_SEED: another one kills at other moments.
KILL_SEED ?= 1
kill-suite: $(STAMP)
	KILL_TASKS=2000 KILL_ROUNDS=50 KILL_SEED=$(KILL_SEED) $(BIN)/pytest tests/system/test_task_queue_kill.py

service-test: $(STAMP)
	SYSTEMD_TEST=1 $(BIN)/pytest tests/system/test_service_systemd.py

soak: $(STAMP)
	SOAK_S=1800 $(BIN)/pytest tests/system/test_soak.py

bench: $(STAMP)
	$(BIN)/python benchmarks/compare.py --json build/bench.json

bench-peer: $(STAMP)
	$(BIN)/python benchmarks/compare.py --peer --json build/bench-peer.json

# BENCH_TASKS_VENV names the environment of the libraries beside it; it is made if it does not exist.
bench-tasks: $(STAMP)
	$(BIN)/python benchmarks/task_queue.py --json build/bench-tasks.json $(BENCH_TASKS_OPTIONS)

# CONFORMANCE names the directory of the conformance suite, CONFORMANCE_OPTIONS what is given to its run.sh.
CONFORMANCE_OPTIONS ?= --quick
conformance: $(STAMP)
	@test -x "$(CONFORMANCE)/run.sh" || { echo "set CONFORMANCE to the directory of the conformance suite" >&2; exit 2; }
	RE_MANAGER_DEMO=peer \
	RE_MANAGER_CMD="$(abspath $(BIN))/remanager start --state-dir {state_dir} --report-version {peer_version} --allow-manager-kill ON" \
	$(CONFORMANCE)/run.sh $(CONFORMANCE_OPTIONS)

# PEER_VENV names a virtual environment with bluesky-queueserver; it is made if it does not exist.
PEER_VENV ?= build/bench-peer
differential: $(STAMP)
	$(BIN)/python tests/differential/run.py --peer-venv $(PEER_VENV) --report build/differential.txt $(DIFFERENTIAL_OPTIONS)

reference: $(STAMP)
	$(BIN)/python -m remanager.cli.options_page > docs/reference/options.md
	$(BIN)/python -m remanager.cli.methods_page > docs/reference/methods.md
	$(BIN)/python -m remanager.cli.commands_page > docs/reference/commands.md
	$(BIN)/python -m remanager.cli.states_page > docs/explanation/states.md
	$(BIN)/python -m remanager.cli.states_picture > docs/explanation/states.svg
	$(BIN)/python -m remanager.cli.service_unit systemd

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find remanager api tests -name __pycache__ -type d -prune -exec rm -rf {} +
