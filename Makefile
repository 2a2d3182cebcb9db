# Tricorn's two commands are `make up` and `make test`; `make help` lists the rest.
.DEFAULT_GOAL := help
SHELL := /bin/bash

TARGET := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)
TRICORN := $(TARGET)/release/tricorn
DATA_DIR ?= tricorn-data
CARGO := cargo

.PHONY: help up down status build test lint fix bench jepsen setup-build setup-run setup-test

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

test: setup-build setup-run setup-test ## Install what the tests need and run all of them
	$(CARGO) build --release --package tricorn
	TRICORN_BINARY=$(abspath $(TRICORN)) $(CARGO) test --release --workspace

lint: setup-build ## Check formatting, clippy, licences and the house's layers; writes nothing
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --workspace --all-targets -- -D warnings
	$(CARGO) xtask house
	@cargo deny --version >/dev/null 2>&1 || $(CARGO) install --locked --quiet cargo-deny
	$(CARGO) deny --log-level error check bans licenses sources

fix: setup-build ## Format, and let clippy mend what it can
	$(CARGO) clippy --release --workspace --all-targets --fix --allow-dirty --allow-staged
	$(CARGO) fmt --all

bench: setup-run setup-test build ## Measure, side by side with Debian's etcd in the same run
	$(TRICORN) bench report

jepsen: ## The consistency suite
	@echo 'make jepsen: not implemented yet; the fault tests of `make test` are what there is today' >&2; exit 1

setup-build:
	@deploy/setup build

setup-run:
	@deploy/setup run client

setup-test:
	@deploy/setup test
