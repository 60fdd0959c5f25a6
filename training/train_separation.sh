#!/usr/bin/env bash
# The recipe of a separation engine, from footage and an engine to a measured checkpoint; every step goes on where it stopped.
#   train_separation.sh FOOTAGE RUNS DEVICE [VOICES]
# RUNS is that of train.sh: its decoded clips, places and drawn scenes are used. VOICES is a folder of recorded speech.
# PERCENT=2 does two in a hundred of the steps: to see that it all works, in minutes.
set -euo pipefail
footage=$1 runs=$2 device=$3 voices=${4:-}
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}
engine=${ENGINE:-$here/../engines/av-small.toml}
mkdir -p "$runs"

some() { echo $((($1 * ${PERCENT:-100} + 99) / 100)); }
say() { printf '\n== %s\n' "$*" >&2; }
run() { local script=$1; shift; "$python" "$here/$script.py" "$@"; }
train() { run train_separation --device "$device" --seed 1 "$@"; }

say "where the sound comes from"
[ -f "$runs/sep-spots.json" ] || run localise --footage "$footage" --engine "$engine" --cache "$runs/cache" --out "$runs/sep-spots.json"

say "what the engine sees and hears of every voice"
prepare() { run prepare_separation --engine "$engine" --out "$runs/voices" --cache "$runs/cache" "$@"; }
name=$(basename "$footage")
for split in train test; do
  prepare --footage "$footage" --spots "$runs/sep-spots.json" --split $split ${UNSEEN:+--unseen "$UNSEEN"}
done
learn=("$runs/voices/$name-train.npz")
if [ -n "$voices" ]; then
  run prepare_separation --engine "$engine" --out "$runs/voices" --cache "$runs/speech" --speech "$voices"
  learn+=("$runs/voices/speech-$(basename "$voices").npz")
fi
if [ -d "$runs/drawn" ]; then
  prepare --scenes "$runs/drawn"
  learn+=("$runs/voices/drawn.npz")
fi

say "learning"
train --run "$runs/sep" --voices "${learn[@]}" --seconds 2 --ease $(some 800) --steps $(some 2000)
say "the baseline"
train --run "$runs/sep-blind" --blind --voices "${learn[@]}" --seconds 2 --steps $(some 1000)
say "measured on people never trained on"
run evaluate_separation --checkpoint "$runs/sep/checkpoint.pt" --blind "$runs/sep-blind/checkpoint.pt" --voices "$runs/voices/$name-test.npz"
