#!/usr/bin/env bash
# Everything that docs/hardware.md lists as not yet run on a GPU, one after the other, and a table of what came of it.
#   make gpu-check      (builds the program with --features tensorrt first)
# What this machine cannot run is a row that says why. Logs: out/gpu-check/. Exit code 1 if anything failed.
set -uo pipefail
cd "$(dirname "$0")/.."
seehear=$PWD/target/release/seehear
logs=out/gpu-check
failed=0
rm -rf "$logs" && mkdir -p "$logs"
rows=()

# The suites name what they skip: "SUITE: skipped NAME: why".
row() { rows+=("| $1 | $2 | $3 |"); echo "$1: $2 ($3)" >&2; }
fail() { failed=1; row "$1" "FAILED" "$2"; }
last() { tail -n 1 "$1" | tr '|' '/' | cut -c1-220; }

if nvidia-smi --query-gpu=name,compute_cap,driver_version,memory.total --format=csv,noheader >"$logs/gpu.log" 2>&1; then
  row "GPU" "found" "$(head -n 1 "$logs/gpu.log")"
else
  row "GPU" "none" "nvidia-smi does not run"
fi

suite() { # name, cargo test's name, what it skips by name…
  local log=$logs/$2.log; shift 0
  local title=$1 test=$2; shift 2
  cargo test -q -p seehear-nets --features tensorrt --test "$test" -- --nocapture >"$log" 2>&1
  local code=$?
  for what in "$@"; do
    local why
    why=$(grep -m 1 "skipped $what:" "$log" | sed 's/.*skipped [^:]*: //' | cut -c1-160)
    if [ -n "$why" ]; then row "$title: $what" "skipped" "$why"
    elif [ $code = 0 ]; then row "$title: $what" "passed" "$(grep -c '' "$log") lines in $log"
    else fail "$title: $what" "$log"; fi
  done
}
suite "conformance" conformance onnxruntime-cuda onnxruntime-tensorrt tensorrt
suite "preparing pictures" prepare "the kernels on a GPU"
suite "building plans" tensorrt "building for every kind of GPU"

engines=(engines/av-small.toml)
for precision in fp16 int8; do
  # Only the files here; plans are built when a backend opens them.
  "$seehear" engines build --precision "$precision" --backend tensorrt >"$logs/build-$precision.log" 2>&1
  name=$precision; [ "$precision" = int8 ] && name=int8-gpu
  engines+=("engines/cache/av-small-$name.toml")
done

table=$logs/bench.md
for engine in "${engines[@]}"; do
  name=$(basename "$engine" .toml)
  for backend in onnxruntime-cuda onnxruntime-tensorrt tensorrt; do
    log=$logs/bench-$name-$backend.log
    if "$seehear" engines bench --engine "$engine" --backend "$backend" >"$log" 2>&1; then
      [ -s "$table" ] || { echo "| engine $(sed -n 's/^|//p' "$log" | head -n 1)"; echo "|---$(sed -n '/^|---/p' "$log" | head -n 1)"; } >>"$table"
      grep "^| $backend" "$log" | sed "s/^/| $name /" >>"$table"
      row "bench $name: $backend" "ran" "$log"
    elif [ "${rows[0]}" != "${rows[0]/| none |/}" ]; then row "bench $name: $backend" "skipped" "$(last "$log")"
    else fail "bench $name: $backend" "$(last "$log")"; fi
  done
done

for backend in onnxruntime-cpu onnxruntime-cuda onnxruntime-tensorrt tensorrt; do
  log=$logs/run-$backend.log
  if "$seehear" run tests/media/demo.mp4 --backend "$backend" --json --events "$logs/run-$backend.jsonl" >"$log" 2>&1; then
    row "run: $backend" "ran" "$(grep -o '"realtime_factor":[0-9.]*\|"on_screen_s":[0-9.]*\|"failed_slots":[0-9]*' "$log" | tr -d '"' | tr '\n' ' ')"
  elif [ "${rows[0]}" != "${rows[0]/| none |/}" ]; then row "run: $backend" "skipped" "$(last "$log")"
  else fail "run: $backend" "$(last "$log")"; fi
done

echo "| what | result | |"; echo "|---|---|---|"; printf '%s\n' "${rows[@]}"
[ -s "$table" ] && { echo; cat "$table"; }
exit $failed
