# Tricorn's two commands are `make up` and `make test`; `make help` lists the rest.
.DEFAULT_GOAL := help
SHELL := /bin/bash

TARGET := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)
TRICORN := $(TARGET)/release/tricorn
DATA_DIR ?= tricorn-data
MINUTES ?= 60
CARGO := cargo

.PHONY: help up down status build test lint fix bench sim jepsen fuzz setup-build setup-run setup-test

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

up: setup-run build ## Install what is missing, build, start three servers and two workers on this machine
	$(TRICORN) up --detach --data-dir $(DATA_DIR)

down: ## Stop the cluster of `make up`; its data stays in DATA_DIR
	$(TRICORN) down --data-dir $(DATA_DIR)

status: ## Show the cluster of `make up`
	$(TRICORN) status --data-dir $(DATA_DIR)

build: setup-build ## Build the release binary
	$(CARGO) build --release --package tricorn

# The simulation wants the store with its planted bugs; beside it everything that stands on the store would be built a second time.
test: setup-build setup-run setup-test ## Install what the tests need and run all of them
	$(CARGO) build --release --package tricorn
	TRICORN_BINARY=$(abspath $(TRICORN)) $(CARGO) test --release --workspace --exclude tricorn-sim
	$(CARGO) test --release --workspace --test seeds

lint: setup-build ## Check formatting, clippy, licences and the house's layers; writes nothing
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --workspace --all-targets -- -D warnings
	$(CARGO) xtask house
	@cargo deny --version >/dev/null 2>&1 || CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_DEBUG=0 $(CARGO) install --locked --quiet cargo-deny
	$(CARGO) deny --log-level error check bans licenses sources

fix: setup-build ## Format, and let clippy mend what it can
	$(CARGO) clippy --release --workspace --all-targets --fix --allow-dirty --allow-staged
	$(CARGO) fmt --all

bench: setup-run setup-test build ## Measure, side by side with Debian's etcd in the same run
	$(TRICORN) bench report

sim: setup-build ## Play SEEDS seeds (1000) of the store under simulation, from SEED (1) on
	$(CARGO) run --release --package tricorn-sim -- --seeds $(or $(SEEDS),1000) --seed $(or $(SEED),1)

jepsen: setup-run build ## Workloads, faults and checkers against real members, for MINUTES (root); runs are kept in jepsen-store
	$(CARGO) run --release --package tricorn-jepsen -- soak --binary $(abspath $(TRICORN)) --minutes $(MINUTES)

fuzz: setup-build ## Give every reader of bytes from outside what nobody meant, for SECONDS_EACH (60)
	$(CARGO) run --release --package tricorn-fuzz -- --seconds $(or $(SECONDS_EACH),60)

setup-build:
	@deploy/setup build

setup-run:
	@deploy/setup run client

setup-test:
	@deploy/setup test
