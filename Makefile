# Gannet. Plain `make` prints what there is.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# The pinned Node (from the registry) comes before the machine's own.
export PATH := $(CURDIR)/node_modules/.bin:$(PATH)
NODE := $(CURDIR)/node_modules/.bin/node

STAMP := node_modules/.gannet-installed

.PHONY: help setup system-packages run tour test check features bench faults ha lab packages generate format

help: ## Print every target
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: system-packages $(STAMP) ## Install everything: system packages (as root) and npm ci

system-packages:
	@deploy/one-machine/install-system-packages

$(STAMP): package-lock.json package.json
	npm ci
	@touch $@

run: setup ## Start a one-machine cluster in the foreground; Ctrl-C stops it, the next start resumes it
	@exec $(NODE) deploy/one-machine/run.ts

tour: setup ## Make the kernel and initramfs of the README's tour, below the state directory
	@$(NODE) deploy/one-machine/tour.ts

test: setup ## Run all tests but the lab
	@$(NODE) node_modules/vitest/vitest.mjs run --reporter=default --reporter=./test/closing-lines.ts

check: setup ## Types, lint, layering, generated files and documents in step
	$(NODE) node_modules/typescript7/bin/tsc -p .
	biome ci .
	$(NODE) test/check/layering.ts
	$(NODE) test/check/generated.ts
	$(NODE) test/check/documents.ts
	$(NODE) test/check/features.ts --check

features: setup ## Print the table of capabilities: proven by which tests, missing and why, or replaced by what
	@$(NODE) test/check/features.ts

bench: setup ## Measure, and print the figures as JSON lines
	@$(NODE) test/bench/run.ts

faults: setup ## Kill and freeze daemons under load a hundred times, and print what was lost (GANNET_FAULT_SEED repeats a run)
	@$(NODE) test/faults/run.ts

ha: setup ## Let machines die, networks part and servers fail in a cluster of three (network namespaces, as root)
	@$(NODE) test/ha/run.ts

lab: setup ## Run the hardware lab (node VMs with real LVM, DRBD and Xen)
	@$(NODE) test/lab/run.ts

packages: setup ## Build the Debian packages into dist/; as root, install, upgrade and purge them in a clean Debian, too
	@deploy/one-machine/install-system-packages mmdebstrap
	@$(NODE) test/packages/run.ts

generate: $(STAMP) ## Generate libs/rpc/src/generated from proto/, and the derived sections of README
	$(NODE) libs/rpc/generate.ts
	$(NODE) test/check/documents.ts --write

format: $(STAMP) ## Format and fix what can be fixed by itself
	biome check --write .
