# Every target works on a fresh checkout. It makes .venv, builds the package and installs it there
# (not editable: the tests see what a user gets), with only what the target needs besides.
# Changed sources are built again.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

SOURCES := $(shell find include src -name core.c -prune -o -type f \
	-name '*.[ch]' -print -o -name '*.inc' -print -o -name '*.p[xy]*' -print -o -name 'py.typed' -print \
	| grep -v __pycache__)
C_SOURCES := $(shell find include src tests benchmarks -name core.c -prune -o -type f \
	-name '*.[ch]' -print -o -name '*.inc' -print)

.PHONY: help demo test check fuzz sanitize mutants ulp bench docs lint format wheel clean
.NOTPARALLEL:

help:
	@echo 'make demo     train small models, with pictures and a page of what they learn'
	@echo 'make test     lint, and the tests but for the long ones'
	@echo 'make check    lint, all tests, and the benchmarks run once without timing'
	@echo 'make fuzz     random calls of every function (SECONDS=600, SEED: a fresh one)'
	@echo 'make sanitize random calls, and tests of the kernels, under ASan and UBSan'
	@echo 'make mutants  plant faults one by one: the tests have to notice 95 of 100'
	@echo 'make ulp      measure the errors of every loss; the tables of docs/accuracy.md'
	@echo 'make bench    measure against torch, JAX and NumPy; table and plots (THREADS=1: on one thread)'
	@echo 'make docs     the documentation, in docs/_build/html'
	@echo 'make lint     ruff, mypy, clang-format'
	@echo 'make format   let ruff and clang-format rewrite the files'
	@echo 'make wheel    source distribution and wheel, in dist/; audited, and tried beside torch'
	@echo 'make clean    remove what these make'
	@echo 'PYTHON=python3.12 make ... takes that Python for a new .venv'

demo: $(VENV)/with-demo
	$(BIN)/python -m fusedloss demo

# A file of tests runs in one process; there is one for each core.
PARALLEL := -n auto --maxprocesses 8 --dist loadfile

test: lint
	$(BIN)/python -m pytest -q -m 'not long' $(PARALLEL)

check: lint $(VENV)/with-check
	$(BIN)/python -m pytest -q --hypothesis-profile=default $(PARALLEL)
	$(BIN)/python -m pytest -q benchmarks --benchmark-disable
	$(MAKE) fuzz

# What it finds becomes a test.
fuzz: $(VENV)/with-test
	PYTHONPATH=tests $(BIN)/python -m fuzz --seconds $(or $(SECONDS),600) $(if $(SEED),--seed $(SEED))

# The same build with other flags, in a folder of its own; tests see it before the installed package.
# Half an hour at most. Without expensive optimisations GCC makes no fused multiply-adds of the kernels.
SANITIZED := build/sanitize
sanitize: $(VENV)/with-test
	FUSEDLOSS_CFLAGS='-O1 -fexpensive-optimizations -g1 -fno-omit-frame-pointer -fsanitize=address,undefined \
		-fno-sanitize-recover=undefined' $(if $(ISAS),FUSEDLOSS_COMPILED_ISAS='$(ISAS)') \
		$(BIN)/python setup.py -q build --build-base $(SANITIZED)/temp --build-lib $(SANITIZED)/lib
	$(BIN)/python tests/sanitize.py $(SANITIZED)/lib

# All faults are in one build, each behind a switch; FAULTS: the numbers of some.
mutants: $(VENV)/with-test
	PYTHONPATH=tests $(BIN)/python -m mutants $(if $(FAULTS),--only $(FAULTS))

ulp: $(VENV)/with-test
	$(BIN)/python tests/ulp_table.py --output docs/accuracy.md

RESULTS := benchmarks/results

bench: $(VENV)/with-bench
	@echo 'Measuring: half an hour. Leave the machine alone meanwhile.'
	@mkdir -p $(RESULTS)
	$(BIN)/python -m pytest -q benchmarks --benchmark-quiet \
		--benchmark-json=$(RESULTS)/results.json $(if $(THREADS),--threads $(THREADS)) || status=$$?; \
	$(BIN)/python benchmarks/report.py $(RESULTS)/results.json && exit $${status:-0}

# Pages of what is no longer public have to go, so all that is generated is generated again.
docs: $(VENV)/with-docs
	rm -rf docs/generated
	$(BIN)/python -m sphinx -q -W --keep-going -d docs/_build/doctrees docs docs/_build/html
	@echo 'The documentation is in docs/_build/html/index.html'

# The tests and benchmarks are checked against the types of fusedloss alone, so that the outcome
# does not depend on what else is installed.
MYPY_TESTS := $(BIN)/mypy --config-file= --no-site-packages --ignore-missing-imports \
	--follow-imports=silent

# The torch front is typed against torch itself.
lint: $(VENV)/with-lint $(VENV)/with-test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	MYPYPATH=src $(MYPY_TESTS) --exclude tests/typed/ tests
	MYPYPATH=src:tests $(MYPY_TESTS) benchmarks tools/wheel
	MYPYPATH=src $(MYPY_TESTS) docs/*.py
	$(BIN)/clang-format --dry-run -Werror $(C_SOURCES)

format: $(VENV)/with-lint
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/clang-format -i $(C_SOURCES)

# Built twice, from the source distribution and from the checkout: the same wheel has to come out.
wheel: export PATH := $(CURDIR)/$(BIN):$(PATH)
wheel: export SOURCE_DATE_EPOCH := $(or $(SOURCE_DATE_EPOCH),$(shell \
	git log -1 --format=%ct 2>/dev/null || date +%s))
wheel: $(VENV)/pyvenv.cfg
	$(PIP) install -r tools/wheel/requirements.txt
	rm -rf build dist
	@echo 'Building the wheel twice'
	python -m build --quiet --outdir build/from-sdist
	python -m build --quiet --outdir build/from-checkout --wheel
	python tools/wheel/repair.py build/from-sdist/*.whl dist
	python tools/wheel/repair.py build/from-checkout/*.whl build/repaired
	mv build/from-sdist/*.tar.gz dist
	python tools/wheel/audit.py dist
	python tools/wheel/check.py dist build/repaired
	@echo 'Source distribution and wheel are in dist/'

clean:
	rm -rf $(VENV) build dist *.egg-info src/*.egg-info src/fusedloss/_core/core.c
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis .benchmarks
	rm -rf fusedloss-demo $(RESULTS) docs/_build docs/generated
	find src tests benchmarks docs -name __pycache__ -type d -prune -exec rm -r {} +

# Dependency groups came with pip 25.1.
$(VENV)/pyvenv.cfg:
	$(PYTHON) -m venv $(VENV)
	@$(PIP) install --upgrade 'pip>=25.1'

# A wheel, then its installation: what `pip install .` does, but the wheel serves every extra.
# build/ goes first, or a file deleted from the sources would live on in it.
$(VENV)/installed: $(VENV)/pyvenv.cfg pyproject.toml setup.py $(wildcard MANIFEST.in) $(SOURCES)
	@echo 'Building and installing fusedloss'
	@rm -rf build $(VENV)/wheel
	@$(PIP) wheel --no-deps --wheel-dir $(VENV)/wheel .
	@$(PIP) install --no-deps --force-reinstall $(VENV)/wheel/*.whl
	@touch $@

$(VENV)/with-demo: pyproject.toml $(VENV)/pyvenv.cfg | $(VENV)/installed
	@echo 'Installing what the demo takes'
	@$(PIP) install "$$(echo $(VENV)/wheel/*.whl)[demo]"
	@touch $@

# The others are dependency groups: for those who work on the package, not for its users.
$(VENV)/with-%: pyproject.toml $(VENV)/with-demo
	@echo 'Installing what "$*" takes'
	@$(PIP) install --group $*
	@touch $@
