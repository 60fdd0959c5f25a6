#!/usr/bin/env bash
# The recipe of engines/av-small, from nothing to an evaluated checkpoint; every step goes on where it stopped.
#   train.sh FOOTAGE RUNS DEVICE [FACE_MODEL [VOICES]]
# PERCENT=2 does two in a hundred of everything: to see that it all works, in minutes.
set -euo pipefail
footage=$1 runs=$2 device=$3 model=${4:-} voices=${5:-}
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}
mkdir -p "$runs"

some() { echo $((($1 * ${PERCENT:-100} + 99) / 100)); }
say() { printf '\n== %s\n' "$*" >&2; }
run() { local script=$1; shift; "$python" "$here/$script.py" "$@"; }
train() { run train --device "$device" --seed 1 --cache "$runs/cache" "$@"; }

say "drawn scenes"
run make_corpus --out "$runs/drawn" --count $(some 250)
synthetic=("$runs/drawn")
if [ -n "$model" ]; then
  say "3-D heads"
  export LP_NUM_THREADS=0  # a software renderer's threads would only be in each other's way
  run make_corpus --out "$runs/heads" --prefix h --seed 1000 --count $(some 200) --seconds 8 --people 1 --heads 0.9 \
    --face-model "$model" ${voices:+--voices "$voices"}
  synthetic+=("$runs/heads")
fi

say "first steps, without augmentation"
train --run "$runs/plain" --synthetic "$runs/drawn" --plain --match 0 --steps $(some 600)
say "with augmentation"
train --run "$runs/augmented" --from "$runs/plain/checkpoint.pt" --synthetic "$runs/drawn" --steps $(some 400) --rate 1.5e-3

say "where the sound comes from"
[ -f "$runs/spots.json" ] || run localise --footage "$footage" --engine "$here/../engines/av-small.toml" \
  --cache "$runs/cache" --out "$runs/spots.json"

say "crops"
train --run "$runs/crops" --from "$runs/augmented/checkpoint.pt" --synthetic "${synthetic[@]}" --footage "$footage" \
  --spots "$runs/spots.json" --steps $(some 3200) --rate 1.5e-3 --real-share 0.5
pictures=(--footage "$footage" --trust 0.05 --crop 96x128 --batch 8 --face 32-100 --wander 0.36 --match 0 \
  --presence 0.5 --synthetic "${synthetic[@]}")
say "pictures, windows of 0.64 s"
train --run "$runs/pictures" --from "$runs/crops/checkpoint.pt" "${pictures[@]}" --spots "$runs/spots.json" \
  --window 16 --place 0.5 --steps $(some 2800) --rate 1.2e-3 --real-share 0.5
say "pictures, windows of 0.96 s"
train --run "$runs/longer" --from "$runs/pictures/checkpoint.pt" "${pictures[@]}" --spots "$runs/spots.json" \
  --window 24 --place 0.7 --steps $(some 1800) --rate 1e-3 --real-share 0.6

say "where the sound comes from, asked again"
[ -f "$runs/spots2.json" ] || run localise --footage "$footage" --engine "$runs/longer/checkpoint.pt" \
  --cache "$runs/cache" --out "$runs/spots2.json"
say "the long part, batch norm folded away"
train --run "$runs/long" --from "$runs/longer/checkpoint.pt" --fold "${pictures[@]}" --spots "$runs/spots2.json" \
  --window 24 --place 0.7 --steps $(some 9000) --rate 5e-4 --real-share 0.6

say "evaluation"
run evaluate --footage "$footage" --cache "$runs/cache" --engine "$runs/long/checkpoint.pt" --baseline
say "done: look at the figures, then: python export.py --checkpoint $runs/long/checkpoint.pt --help"
