# On a fresh Debian 12 as root, `make demo` and `make test` install what they need and say what.
# With INSTALL=no they say what is missing instead.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MACHINE := $(shell uname -m)
ARCH := $(MACHINE)
TRIPLE := $(ARCH)-unknown-linux-gnu
MODULES := dedicated_user dedicated_user_info podman_service userns_remap userns_remap_info vm_snapshot \
	vm_snapshot_info volume_rechown
PREPARE := tests/tools/prepare
PYTHON := .venv/bin/python

export ARCH
# The locale that Ansible insists on.
export LC_ALL := C.UTF-8
export PATH := $(CURDIR)/.venv/bin:$(PATH)

# Another architecture is built by Debian's compiler, whose standard library is there for both.
ifneq ($(ARCH),$(MACHINE))
build: export RUSTC := /usr/bin/rustc
build: export CARGO_TARGET_DIR := target/$(ARCH)
endif
OUT = $${CARGO_TARGET_DIR:-target}/$(TRIPLE)
# How long each fuzz target runs.
SECONDS ?= 60
FUZZ = --fuzz-dir tests/fuzz --features libfuzzer parsers

.PHONY: build faults demo test compliance soak fuzz bench bench-docker lint clean

build: ## the executables, static, in plugins/module_bin
	@$(PREPARE) build
	cargo build --release --target $(TRIPLE) $(MODULES:%=--bin %)
	@install -D -t plugins/module_bin/$(ARCH) $(MODULES:%=$(OUT)/release/%)

faults: ## modules that can be killed or paused at a named step, for the tests
	cargo build --target $(TRIPLE) -p dedicated_user -p podman_service -p userns_remap -p vm_snapshot --features faults
	@install -D -t build/faults $(foreach module,dedicated_user podman_service userns_remap vm_snapshot,$(OUT)/debug/$(module))

demo: ## a live host converted and converted back, before your eyes
	@$(PREPARE) demo
	@$(MAKE) --no-print-directory build
	@$(PYTHON) tests/demo/demo.py

test: ## everything, or some: make test SUITES="lint e2e"
	@$(PREPARE) test
	@$(MAKE) --no-print-directory build faults
	@$(PYTHON) tests/tools/suites.py $(SUITES)

compliance: ## the module protocol beside a real AnsibleModule
	cargo build --quiet --target $(TRIPLE) -p ansible-module --example from_spec
	python tests/compliance/run.py --exe $(OUT)/debug/examples/from_spec

soak: ## the long matrix of crashes and reboots, of VMs and services too; the shift engine killed, led astray and with a million files
	@$(PREPARE) test
	@$(MAKE) --no-print-directory build faults
	@$(PYTHON) tests/tools/suites.py soak soak-vm soak-podman torture soak-shift

# Link-time optimisation would lose the marks of coverage, and with them the link.
fuzz: export CARGO_PROFILE_RELEASE_LTO := off
fuzz: export CARGO_PROFILE_RELEASE_OPT_LEVEL := 3
fuzz: export CARGO_PROFILE_RELEASE_STRIP := none
fuzz: ## every parser in turn, SECONDS=60 each; with a nightly compiler and cargo-fuzz
	@$(PREPARE) fuzz
	cargo +nightly fuzz build $(FUZZ)
	@for seeds in tests/fuzz/seeds/*; do \
	    target=$$(basename $$seeds) found=build/fuzz/$$(basename $$seeds); \
	    echo "===== $$target"; mkdir -p $$found; \
	    FUZZ_TARGET=$$target cargo +nightly fuzz run $(FUZZ) $$found $$seeds -- \
	        -max_total_time=$(SECONDS) -artifact_prefix=$$found- -print_final_stats=1 -verbosity=0; \
	done

bench: ## the shift engine beside its peers, in minutes or, with SIZE=full, in many; see tests/bench/bench.py
	@$(PREPARE) bench
	cargo build --release --target $(TRIPLE) -p rechown --example rechown
	@python3 tests/bench/bench.py $(OUT)/release/examples/rechown

bench-docker: ## a big host's way to user namespaces beside other ways there; see tests/bench/conversion.py
	@$(PREPARE) demo
	@$(MAKE) --no-print-directory build
	@$(PYTHON) tests/bench/conversion.py plugins/module_bin/$(ARCH)/userns_remap

lint: ## formatting, clippy, ansible-lint, shellcheck, Python syntax
	@$(PREPARE) lint
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings
	ansible-lint -q
	git grep -lE '^#!/bin/(ba)?sh|^#!/usr/bin/env bash' -- ':!*.md' | xargs shellcheck
	git ls-files -z '*.py' | xargs -0 python3 -m compileall -q

clean: ## every trace of all of these but for installed packages
	tests/testbed/testbed clean
	rm -rf .venv build target plugins/module_bin .pytest_cache .ansible
	find . -name __pycache__ -prune -exec rm -r {} +
