# SPDX-License-Identifier: Apache-2.0
# What can be done with a checkout; `make` alone lists it. Everything it makes is in .venv and .lab.

VENV := .venv
BIN := $(VENV)/bin
PREFIX ?= /usr
DESTDIR ?=
# Arguments for pytest, the daemon or the benchmarks: make test ARGS="-k chain", make run ARGS="--config my.toml"
ARGS ?=

# What the tests need of the distribution; of it, what the lab needs. Fedora has no package of User Mode Linux: there the kernel
# tests run directly, as root.
ifneq ($(shell command -v dnf),)
LAB := device-mapper e2fsprogs systemd dbus-daemon util-linux kmod
PACKAGES := $(LAB) xfsprogs btrfs-progs squashfs-tools iproute procps-ng \
	golang-github-prometheus golang-github-prometheus-alertmanager
else
# On a processor with AMX the lab kernel needs a small library that is built here: tests/lab/xstate.c.
AMX := $(shell grep -qm 1 amx_tile /proc/cpuinfo && echo gcc libc6-dev)
LAB := dmsetup e2fsprogs systemd dbus util-linux kmod user-mode-linux $(AMX)
PACKAGES := $(LAB) xfsprogs btrfs-progs squashfs-tools iproute2 procps prometheus prometheus-alertmanager
endif

.DEFAULT_GOAL := help
.PHONY: help run test unit integration fuzz lint format bench forecast accuracy demo shell packages install clean

help: ## Show this list
	@echo "overlaywatch: what can be done here"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|' 2>/dev/null \
	  || sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1: \2/p' $(MAKEFILE_LIST)

run: $(VENV)/.run ## Run the daemon on this machine, in the foreground; Ctrl-C ends it
	@echo "overlaywatch: look at http://127.0.0.1:10087/ and /metrics there, or: $(BIN)/overlaywatch status"
	@exec $(BIN)/overlaywatch run $(ARGS)

test: $(VENV)/.test packages ## Run all tests: linters, types, units, and real kernels in the lab
	@$(BIN)/python -m pytest $(ARGS)

unit: $(VENV)/.test ## Run the tests that need no kernel of their own
	@$(BIN)/python -m pytest -n auto --dist worksteal -m "not kernel and not boots" $(ARGS)

integration: $(VENV)/.test packages ## Run the tests on real kernels only
	@$(BIN)/python -m pytest -m "kernel or boots" $(ARGS)

fuzz: $(VENV)/.test ## Try every parser on a million damaged texts: half an hour; ARGS="--inputs 10000 --only mountinfo"
	@$(BIN)/python -m tests.fuzz $(ARGS)

lint: $(VENV)/.test ## Check style, types and imports
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(VENV)/.test ## Put the style right
	@$(BIN)/ruff check --fix-only --quiet
	@$(BIN)/ruff format

bench: $(VENV)/.test packages ## Measure, and print a table
	@packaging/checkout/packages.sh prometheus-node-exporter
	@$(BIN)/python -m benchmarks $(ARGS)

accuracy: $(VENV)/.test packages ## Fill every kind of chain to its end, and compare with what was announced: docs/accuracy.md
	@$(BIN)/python -m benchmarks.accuracy --write docs/accuracy.md $(ARGS)

forecast: $(VENV)/.test ## Measure the forecast beside Prometheus' predict_linear, and print the tables
	@$(BIN)/python -m benchmarks.forecast $(ARGS)

demo: $(VENV)/.run ## Watch a real snapshot fill, and what the daemon does: half a minute
	@packaging/checkout/packages.sh $(LAB)
	@$(BIN)/python -m tests.demo $(ARGS)

shell: $(VENV)/.test packages ## A root shell in a lab guest: break what you like
	@$(BIN)/python -m tests.lab

packages:
	@packaging/checkout/packages.sh $(PACKAGES)

install: ## Install into DESTDIR below PREFIX (/usr): program, unit, users
	@packaging/checkout/install.sh "$(DESTDIR)" "$(PREFIX)"

clean: ## Remove what was made here
	rm -rf $(VENV) .lab build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# Stamps: an environment is made once, and again when what it needs has changed.
$(VENV)/.made: packaging/checkout/venv.sh
	@packaging/checkout/venv.sh $(VENV)
	@touch $@

$(VENV)/.run: $(VENV)/.made pyproject.toml
	@$(BIN)/python -m pip install --quiet --use-pep517 --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.made pyproject.toml
	@$(BIN)/python -m pip install --quiet --use-pep517 --disable-pip-version-check --editable '.[test]'
	@touch $@ $(VENV)/.run
