#!/usr/bin/env bash
# What each ingredient is worth: short trainings from the same start, without one thing each, two seeds.
#   ablate.sh FOOTAGE SPOTS RUNS EVALUATION...
# RUNS as train.sh left it (drawn, heads, augmented); SPOTS of localise.py; EVALUATION: evaluate.py's arguments.
# A run is skipped when it is finished: call it again to go on.
set -euo pipefail
footage=$1 spots=$2 runs=$3
shift 3
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}
steps=${STEPS:-600}
drawn=(--synthetic "$runs/drawn") heads=(--synthetic "$runs/drawn" "$runs/heads")
real=(--footage "$footage" --spots "$spots" --cache "$runs/cache" --trust 0.05)

variant() {
  local name=$1 seed=$2; shift 2
  local run="$runs/ablation/$name-$seed"
  "$python" "$here/train.py" --run "$run" --from "$runs/augmented/checkpoint.pt" --fold --steps "$steps" --rate 1e-3 \
    --seed "$seed" --threads "${THREADS:-1}" "$@" 2> "$run.log" || { tail -3 "$run.log"; exit 1; }
  ln -f "$run/checkpoint.pt" "$runs/ablation/$name-$seed.pt"
}

mkdir -p "$runs/ablation"
for seed in 1 2; do
  variant everything "$seed" "${heads[@]}" "${real[@]}" --real-share 0.5
  variant no-footage "$seed" "${heads[@]}"
  variant no-heads "$seed" "${drawn[@]}" "${real[@]}" --real-share 0.5
  variant no-latent "$seed" "${heads[@]}" "${real[@]}" --real-share 0.5 --no-latent
  variant no-augmentation "$seed" "${heads[@]}" "${real[@]}" --real-share 0.5 --plain
  variant no-match "$seed" "${heads[@]}" "${real[@]}" --real-share 0.5 --match 0
done
"$python" "$here/evaluate.py" --engine "$runs"/ablation/*.pt "$@"
