# seehear: `make run` and `make test` set up everything they need on Debian 12, Ubuntu 24.04 and later.
# What is installed: Debian packages (GStreamer, espeak-ng, ffmpeg), and into .deps/ (ignored by git) ONNX Runtime's
# shared library, a Python environment and cargo-deny. Removing .deps/ and target/ leaves the checkout as it was cloned.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

INPUT ?= tests/media/demo.mp4
OUT ?= out
ARGS ?=
PYTHON ?= python3

ORT_VERSION := 1.32.0
DENY_VERSION := 0.20.2
# For GPUs: docs/hardware.md. CUDA 13 all of them.
ORT_GPU_VERSION := 1.31.1
TENSORRT_VERSION := 1.7.1.116
NVRTC_VERSION := 13.5.37
PACKAGES := pkg-config build-essential libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev libgstrtspserver-1.0-dev \
  gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad \
  gstreamer1.0-plugins-ugly gstreamer1.0-libav gstreamer1.0-alsa gstreamer1.0-x \
  ffmpeg libespeak-ng1 espeak-ng-data python3-venv python3-pip mosquitto openssl

VENV := .deps/venv
ORT := .deps/onnxruntime/libonnxruntime.so
ORT_GPU := .deps/onnxruntime-gpu/onnxruntime/capi
TENSORRT := .deps/tensorrt/libtensorrt_rtx.so.1
NVRTC := .deps/nvrtc/libnvrtc.so.13
DENY := .deps/cargo/bin/cargo-deny
SEEHEAR := target/release/seehear

.PHONY: help setup packages run plugin test lint test-rust test-python check deny bench sync-check sync-bench soak demo train clean look fuzz fuzz-media faults train-separation libclang setup-tensorrt setup-gpu test-tensorrt gpu-check check-aarch64

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 14

setup: packages $(ORT) ## install what is missing; quick when nothing is

packages:
	@missing=(); for p in $(PACKAGES); do \
	  dpkg-query -W -f='$${Status}' "$$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$$p"); done; \
	if [ $${#missing[@]} -gt 0 ]; then \
	  echo "installing Debian packages: $${missing[*]}"; \
	  if ! command -v apt-get >/dev/null; then echo "no apt-get on this machine; install by hand: $${missing[*]}" >&2; exit 1; fi; \
	  as_root=; if [ "$$(id -u)" != 0 ]; then \
	    as_root=sudo; command -v sudo >/dev/null || { echo "neither root nor sudo; as root: apt-get install $${missing[*]}" >&2; exit 1; }; fi; \
	  $$as_root apt-get update -q >/dev/null; \
	  $$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$${missing[@]}" >/dev/null \
	    || { echo "apt-get could not install: $${missing[*]}" >&2; exit 1; }; \
	fi; \
	command -v cargo >/dev/null || { echo "cargo is missing: install Rust 1.92 or newer (rustup)" >&2; exit 1; }

# The CPU library alone, out of the PyPI wheel; nothing of Python is needed to run.
$(ORT): | packages
	@echo "fetching ONNX Runtime $(ORT_VERSION)"; mkdir -p $(@D); tmp=$$(mktemp -d); trap 'rm -rf "$$tmp"' EXIT; \
	$(PYTHON) -m pip download -q --disable-pip-version-check --no-deps --only-binary=:all: -d "$$tmp" onnxruntime==$(ORT_VERSION) \
	  || { echo "PyPI has no onnxruntime $(ORT_VERSION) wheel for this machine ($$(uname -m), $$($(PYTHON) -V))" >&2; exit 1; }; \
	$(PYTHON) -c 'import sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); n = next(n for n in z.namelist() if n.startswith("onnxruntime/capi/libonnxruntime.so")); open(sys.argv[2], "wb").write(z.read(n))' \
	  "$$tmp"/onnxruntime-*.whl $@.part; mv $@.part $@

$(VENV)/ready: training/pyproject.toml | packages
	@echo "making the Python environment (PyTorch: some gigabytes, once)"; $(PYTHON) -m venv $(VENV); \
	$(VENV)/bin/pip install -q --disable-pip-version-check --no-cache-dir "./training[dev,train]"; \
	$(VENV)/bin/pip uninstall -q -y seehear-training; touch $@

$(DENY):
	@echo "building cargo-deny $(DENY_VERSION) (once, some minutes)"; \
	cargo install -q --locked --root .deps/cargo --target-dir target/tools cargo-deny@$(DENY_VERSION)

run: setup ## the main job: highlight the active speaker in INPUT (default: the demo clip) into OUT
	@cargo build -q --release -p seehear-cli
	@mkdir -p $(OUT); name=$$(basename "$(INPUT)"); name=$${name%.*}; name=$${name//[^A-Za-z0-9._-]/_}; \
	$(SEEHEAR) run "$(INPUT)" --output "$(OUT)/$$name.seehear.mp4" --events "$(OUT)/$$name.events.jsonl" $(ARGS)

test: setup lint check-aarch64 test-rust check test-python deny ## every test, as CI runs it

lint: setup
	cargo fmt --all --check
	cargo clippy -q --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc -q --workspace --no-deps --document-private-items

# The same cases every time, so that who broke a property is who sees it break; other cases: make test-rust CASES_SEED=...
CASES_SEED ?= 1
test-rust: setup
	PROPTEST_RNG_SEED=$(CASES_SEED) cargo test --workspace

plugin: setup ## the GStreamer plugin, target/release/libgstseehear.so; docs/gstreamer.md
	@cargo build -q --release -p gstseehear
	@echo "export GST_PLUGIN_PATH=$(CURDIR)/target/release"

check: setup
	cargo run -q -p seehear-cli -- check pipelines/*.toml pipelines/streams/*.toml

test-python: $(VENV)/ready
	cd training && ../$(VENV)/bin/ruff check . && ../$(VENV)/bin/python -m pytest -q

# Advisories need a database that not every network reaches: `cargo deny check advisories` by hand.
deny: $(DENY)
	$(DENY) check bans licenses sources

# One wheel's libraries into a folder, without Python's packages around them: $(call wheel,package==version,folder)
define wheel
	@echo "fetching $(1)"; mkdir -p $(2); tmp=$$(mktemp -d -p .deps); trap 'rm -rf "$$tmp"' EXIT; \
	$(PYTHON) -m pip download -q --disable-pip-version-check --no-cache-dir --no-deps --only-binary=:all: -d "$$tmp" $(1) \
	  || { echo "PyPI has no $(1) wheel for this machine ($$(uname -m))" >&2; exit 1; }; \
	$(PYTHON) -c 'import os, sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); [open(os.path.join(sys.argv[2], os.path.basename(n) + ".part"), "wb").write(z.read(n)) and os.replace(os.path.join(sys.argv[2], os.path.basename(n) + ".part"), os.path.join(sys.argv[2], os.path.basename(n))) for n in sorted(z.namelist()) if ".so" in os.path.basename(n)]' \
	  "$$tmp"/*.whl $(2)
endef

$(TENSORRT): | packages
	$(call wheel,tensorrt-rtx-cu13-libs==$(TENSORRT_VERSION),$(@D))

$(NVRTC): | packages
	$(call wheel,nvidia-cuda-nvrtc==$(NVRTC_VERSION),$(@D))

# trtx makes its bindings from TensorRT's headers with libclang.
libclang: packages
	@ls /usr/lib/llvm-*/lib/libclang*.so* /usr/lib*/libclang*.so* >/dev/null 2>&1 || { \
	  as_root=; [ "$$(id -u)" = 0 ] || as_root=sudo; echo "installing libclang"; \
	  $$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends libclang-dev >/dev/null; }

setup-tensorrt: setup libclang $(TENSORRT) ## what --backend tensorrt needs: TensorRT for RTX (240 MB) and libclang

setup-gpu: setup ## what --backend onnxruntime-cuda needs: ONNX Runtime's GPU build with CUDA and cuDNN (some gigabytes)
	@test -d $(ORT_GPU) || { echo "fetching ONNX Runtime $(ORT_GPU_VERSION) for GPUs"; rm -rf .deps/onnxruntime-gpu.part; \
	$(PYTHON) -m pip install -q --disable-pip-version-check --no-cache-dir --target .deps/onnxruntime-gpu.part \
	  "onnxruntime-gpu[cuda,cudnn]==$(ORT_GPU_VERSION)" && mv .deps/onnxruntime-gpu.part .deps/onnxruntime-gpu; }

test-tensorrt: setup-tensorrt $(NVRTC) ## what of TensorRT and CUDA can be tested without a GPU: builds for every kind, kernels compiled
	cargo clippy -q -p seehear-nets -p seehear-cli --features seehear-cli/tensorrt --all-targets -- -D warnings
	cargo test -q -p seehear-nets --features tensorrt

gpu-check: setup-tensorrt setup-gpu $(NVRTC) ## on a machine with a GPU: everything that has not run on one yet, and the table
	@cargo build -q --release -p seehear-cli --features tensorrt
	tests/gpu_check.sh

# Nothing may assume x86 (Jetson is aarch64); what links GStreamer would need its arm64 libraries.
check-aarch64: setup
	@if command -v rustup >/dev/null; then rustup target list --installed | grep -q aarch64-unknown-linux-gnu || \
	    rustup target add aarch64-unknown-linux-gnu || { echo "skipped check-aarch64: the target cannot be fetched"; exit 0; }; \
	  cargo check -q -p seehear -p seehear-nets --target aarch64-unknown-linux-gnu; \
	else echo "skipped check-aarch64: no rustup to add the target with"; fi

bench: setup ## speed, latency, cores and memory on this machine; figures of docs/performance.md
	@cargo build -q --release -p seehear-cli
	cargo bench -q -p seehear
	$(SEEHEAR) bench $(ARGS)

sync-check: setup ## live correction by the clock, 40 s with the sound late and 40 s with it early; figures of docs/sync.md
	cargo test -q -p seehear-cli --test live_sync -- --ignored --nocapture

SCENES ?=
sync-bench: setup $(VENV)/ready ## lip sync of SCENES=folder (training/make_scenes.py makes some), beside the classical baseline
	@test -n "$(SCENES)" || { echo "make sync-bench SCENES=folder-with-truth (training/make_scenes.py --random-offset-ms 400 makes one)" >&2; exit 2; }
	@cargo build -q --release -p seehear-cli
	$(VENV)/bin/python training/sync_bench.py $(SCENES) $(ARGS)

soak: setup ## an hour live: memory and latency at the beginning and at the end
	@cargo build -q --release -p seehear-cli
	$(SEEHEAR) bench --soak-minutes 60

demo: $(VENV)/ready ## make the demo clip again
	cd training && ../$(VENV)/bin/python make_demo.py

# Seconds of CPU are what training costs: OMP_NUM_THREADS should be the cores that nothing else uses.
FOOTAGE ?=
RUNS ?= training/runs
DEVICE ?= cpu
FACE_MODEL ?=
VOICES ?=
train: $(VENV)/ready ## train an engine on FOOTAGE=DIR (and FACE_MODEL=FILE VOICES=DIR); hours; goes on where it stopped
	@test -n "$(FOOTAGE)" || { echo "make train FOOTAGE=folder-of-video [FACE_MODEL=ict_face.npz VOICES=folder-of-speech]" >&2; exit 2; }
	PYTHON=$(VENV)/bin/python training/train.sh "$(FOOTAGE)" "$(RUNS)" "$(DEVICE)" "$(FACE_MODEL)" "$(VOICES)"

clean: ## remove what was built, leave .deps
	rm -rf target out

look: setup ## the dashboard in headless Chromium: checks, and screenshots into OUT/look
	@command -v chromium >/dev/null || { echo "chromium is missing: apt-get install chromium" >&2; exit 1; }
	@cargo build -q --release -p seehear-serve --example demo
	$(PYTHON) crates/serve/tests/look.py target/release/examples/demo "$(OUT)/look"

CASES ?= 10000000
fuzz: setup ## CASES mutated pipelines, manifests, configurations, events and addresses (ten million: some minutes)
	CASES=$(CASES) cargo test --release -p seehear-cli --test fuzz -- --nocapture

fuzz-media: setup ## CASES damaged media files through `run` (500: a quarter of an hour)
	CASES=$(if $(filter file,$(origin CASES)),500,$(CASES)) cargo test --release -p seehear-cli --test mutated_media -- --nocapture

faults: setup ## what goes wrong in a room and on air, done on purpose: the table of docs/faults.md (five minutes)
	FAULTS=all cargo test --release -q -p seehear-cli --test faults -- --nocapture

train-separation: $(VENV)/ready ## train a separation engine on FOOTAGE=DIR (and VOICES=DIR), after `make train`; hours
	@test -n "$(FOOTAGE)" || { echo "make train-separation FOOTAGE=folder-of-video [VOICES=folder-of-speech]" >&2; exit 2; }
	PYTHON=$(VENV)/bin/python training/train_separation.sh "$(FOOTAGE)" "$(RUNS)" "$(DEVICE)" "$(VOICES)"
