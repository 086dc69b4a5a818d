# `make` alone lists what there is. Everything is compiled once, with the release profile, into one folder
# outside the checkout.
export CARGO_TARGET_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/aegis/target
# A Rust installed by scripts/install-tools.sh a moment ago is not yet on this shell's PATH.
export PATH := $(PATH):$(HOME)/.cargo/bin

# What `make bench` generates, and where.
BENCH_ALERTS ?= 1000000
BENCH_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/aegis/bench

.DEFAULT_GOAL := help
.PHONY: help run demo-oom build web test test-long test-kubernetes simulate fuzz bench lint docs

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## install what is missing, build, run the demo on the embedded log
	"$(CARGO_TARGET_DIR)/release/aegis" demo

demo-oom: ## one incident from its cause to its postmortem, beside a real Prometheus (DEMO_OOM=--ask, --keep; AEGIS_TEST_KUBERNETES)
	scripts/install-tools.sh
	scripts/services/prometheus.sh install
	scripts/web.sh build
	cargo build --release --workspace --bin aegis --bin bench
	eval "$$(scripts/services/prometheus.sh env)" && "$(CARGO_TARGET_DIR)/release/bench" demo-oom $(DEMO_OOM)

build: ## install what is missing and build the binary aegis, with its dashboard where Node is there
	scripts/install-tools.sh
	scripts/web.sh build
	cargo build --release --workspace --bin aegis

web: ## the dashboard's files, for the next build to take in; installs Node where it is missing
	scripts/web.sh require

test: ## every test, against real Kafka, PostgreSQL, TimescaleDB, Prometheus and Alertmanager
	scripts/install-tools.sh
	scripts/test.sh

test-long: ## the same, with the long variants of the tests (AEGIS_TEST_LONG=1)
	scripts/install-tools.sh
	AEGIS_TEST_LONG=1 scripts/test.sh

test-kubernetes: ## the tests for a real Kubernetes API server, built from source the first time (25 minutes and more)
	scripts/install-tools.sh
	scripts/test-kubernetes.sh

simulate: ## 100,000 simulated schedules; one that fails prints how to replay it (AEGIS_TEST_SIM_SCHEDULES, _PLAN, _SEED)
	scripts/install-tools.sh
	AEGIS_TEST_SIM_SCHEDULES=$(or $(AEGIS_TEST_SIM_SCHEDULES),100000) \
		cargo test --release --workspace --test simulation -- --nocapture

fuzz: ## a million spoiled bodies and requests per target; one that fails prints its seed (AEGIS_FUZZ_ROUNDS, _SEED)
	scripts/install-tools.sh
	AEGIS_FUZZ_ROUNDS=$(or $(AEGIS_FUZZ_ROUNDS),1000000) \
		cargo test --release --workspace --test decoders --test requests --test grpc --test slack --test watch -- --nocapture

bench: ## generate alerts and run the core job on them (BENCH_ALERTS, BENCH_DIR)
	scripts/install-tools.sh
	cargo build --release --workspace --bin bench
	mkdir -p "$(BENCH_DIR)"
	"$(CARGO_TARGET_DIR)/release/bench" generate "$(BENCH_DIR)" --alerts $(BENCH_ALERTS)
	"$(CARGO_TARGET_DIR)/release/bench" core "$(BENCH_DIR)"

lint: ## formatting and clippy, warnings denied
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

docs: ## the API documentation, warnings denied
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps
