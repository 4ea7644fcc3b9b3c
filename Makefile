# `make demo` and `make test` set everything up by themselves. PYTHON chooses the interpreter, for example PYTHON=python3.12.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
# Where it is set, each process would compile anew what it runs.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup demo up test lint bench faults fuzz soak clean
.DEFAULT_GOAL := help

help:  ## what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

setup: .venv/installed  ## the virtual environment, the stubs, Kafka, a Java runtime and an archive of what it loads
	@$(BIN)/python tools/stubs.py
	@$(BIN)/python -m servers.mesh.jars
	@$(BIN)/python -m servers.mesh.java >/dev/null 2>&1 || \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[java]'
	@$(BIN)/python -m servers.mesh.class_archive

.venv/installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "ronghe needs Python 3.11 or later with the venv module: install it, or name it with PYTHON=..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: setup  ## 300 applications through the whole mesh, with a table at the end
	@$(BIN)/ronghe demo

up: setup  ## the mesh, until Ctrl-C
	@$(BIN)/ronghe up

test: setup  ## all tests, real broker included
	@$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder

lint: setup  ## ruff, mypy, buf
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/buf lint && $(BIN)/buf format --diff --exit-code proto

bench: setup  ## completed cases a second by bulk streams, then by calls, and what waiting organs cost, each with its control
	@$(BIN)/python -m benchmarks.cases --bulk --at-once 2000
	@$(BIN)/python -m benchmarks.cases --at-once 1000
	@$(BIN)/python -m benchmarks.idle

faults: setup  ## everything that must be survived, judged by an independent checker; QUICK=1: one mesh, in about 3 minutes
	@$(BIN)/python -m faults $(if $(QUICK),--quick) $(if $(SEED),--seed $(SEED)) $(if $(RATE),--rate $(RATE))

fuzz: setup  ## a million hostile requests over every RPC; QUICK=1: 20,000
	@$(BIN)/python -m faults --scene fuzz $(if $(QUICK),--quick) $(if $(SEED),--seed $(SEED)) $(if $(RATE),--rate $(RATE))

soak: setup  ## half an hour of work, with memory, files, threads and latency drawn; QUICK=1: 80 s
	@$(BIN)/python -m faults --scene soak $(if $(QUICK),--quick) $(if $(SEED),--seed $(SEED)) $(if $(RATE),--rate $(RATE))

clean:  ## what set-up and tests made; the cases in .ronghe stay
	rm -rf .venv .cache .ronghe-faults third_party .mypy_cache .ruff_cache .pytest_cache .hypothesis proto/buf
	find proto -name '*_pb2*.py*' -delete
