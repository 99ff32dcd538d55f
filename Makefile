# make test   everything CI runs: formatting, lints, docs, unit, property and end-to-end tests
# make demo   a mesh on this machine, driven with live traffic (STAY=1 keeps it up)
# make bench  against Envoy, HAProxy and NGINX
# make bench-xds   a mesh of 10,000 clusters under remora and under Envoy
# make soak   ten minutes of mixed load (SOAK_SECONDS=3600 for an hour): memory stays flat, nothing stays active
# make fuzz   cargo-fuzz for hours (needs a nightly toolchain and cargo-fuzz)

CARGO ?= cargo
SECONDS_PER_TARGET ?= 3600
SOAK_SECONDS ?= 600
# Folders with fuzz targets; h1, h2 and resources are what targets share.
FUZZ_FOLDERS = crates/codec/fuzz crates/xds/fuzz
FUZZ_TARGETS = $(filter-out h1 h2 resources,$(basename $(notdir $(wildcard $(1)/fuzz_targets/*.rs))))

.PHONY: help build test lint demo bench bench-xds soak fuzz dist clean

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

build:
	$(CARGO) build --workspace

dist:
	$(CARGO) build --profile dist -p remora -p remora-control-plane

test:
	./tests/run.sh

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

demo:
	./examples/demo.sh

bench:
	./bench/run.sh

bench-xds:
	./tests/peers.sh
	$(CARGO) build --profile dist -p bench -p remora --locked
	python3 bench/xds.py

soak:
	$(CARGO) build --locked -p remora -p bench --bins
	SOAK_SECONDS=$(SOAK_SECONDS) $(CARGO) test --locked -p e2e --test soak -- --nocapture

fuzz:
	@command -v cargo-fuzz >/dev/null || { echo "make fuzz needs a nightly toolchain and cargo-fuzz: rustup toolchain install nightly; cargo install cargo-fuzz" >&2; exit 1; }
	$(foreach folder,$(FUZZ_FOLDERS),for target in $(call FUZZ_TARGETS,$(folder)); do \
	  (cd $(folder) && $(CARGO) +nightly fuzz run $$target -- -max_total_time=$(SECONDS_PER_TARGET)) || exit 1; \
	done;)

clean:
	$(CARGO) clean
