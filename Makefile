# `make` lists the targets. Everything also works by hand: the recipes are what you would type.

.DEFAULT_GOAL := help
CARGO ?= cargo
# Arguments of `make up`, such as ARGS="--network simulated".
ARGS ?=
NEXTEST_PROFILE ?= $(if $(CI),ci,default)
# Minutes for each fuzz target, and kills for the durability test, of `make soak`.
SOAK_MINUTES ?= 10
SOAK_KILLS ?= 1000

.PHONY: help up check test oracle bench soak prerequisites release fmt clippy unit doc-tests clients deny

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: ## install what is missing, build, and run a Bastide with a demo hub until Ctrl-C (ARGS="--network simulated" ...)
	@scripts/prerequisites.sh build run
	$(CARGO) build --release --locked -p bastide
	@exec target/release/bastide up --demo $(ARGS)

check: fmt clippy unit ## the quick loop: format, lints, unit tests

test: ## everything: check, doc tests, the oracle, release build, real clients, durability, licences
	@scripts/prerequisites.sh build test
	$(MAKE) --keep-going fmt clippy unit doc-tests oracle release clients deny

oracle: ## the same 100,000 role decisions by Bastide and by cedar-policy
	$(CARGO) run --quiet --locked --manifest-path tests/access-oracle/Cargo.toml -- check

bench: ## measure, beside peers in the same run
	@scripts/prerequisites.sh build run test bench
	$(CARGO) bench --workspace --locked --benches
	$(CARGO) run --release --locked --manifest-path tests/access-oracle/Cargo.toml

soak: ## hours of fuzzing and killing (SOAK_MINUTES, SOAK_KILLS)
	@scripts/prerequisites.sh build test
	$(MAKE) release
	BASTIDE_KILL_ROUNDS=$(SOAK_KILLS) BASTIDE_WALL_KILLS=$$(($(SOAK_KILLS) / 25)) tests/clients/run.sh wall durability
	fuzz/run.sh all $$(($(SOAK_MINUTES) * 60))

prerequisites: ## install what building, running and testing take (apt-get, when root)
	@scripts/prerequisites.sh build run test nextest deny

release:
	$(CARGO) build --release --locked -p bastide

fmt:
	$(CARGO) fmt --all --check

clippy:
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

unit:
	@scripts/prerequisites.sh nextest
	$(CARGO) nextest run --workspace --locked --profile $(NEXTEST_PROFILE)

doc-tests:
	$(CARGO) test --workspace --locked --doc

clients:
	tests/clients/run.sh

deny:
	@scripts/deny.sh
