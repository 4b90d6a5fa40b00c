#!/usr/bin/env bash
# Trains small models to find a passkey in 128 bytes and asks them for one in up to
# 8 times as many, by position method and mask, in one report with heat maps.
# Resumes where it was stopped. Takes about half an hour on two cores.
#
#   deploy/experiments/passkey_grid.sh [--methods="XPOS ROPE ALIBI NONE"] [--steps=1000]
#
# Runs are in runs/passkey/, the report on all of them in runs/passkey/report/.
set -euo pipefail
cd "$(dirname "$0")/../.."

methods="XPOS ROPE ALIBI NONE"
steps=1000
for argument in "$@"; do
  case "$argument" in
    --methods=*) methods=${argument#*=} ;;
    --steps=*) steps=${argument#*=} ;;
    *) echo "passkey_grid.sh: unknown argument $argument" >&2; exit 2 ;;
  esac
done

lextra=build/launch/lextra
grid=runs/passkey
length=128
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
mpirun=(mpirun -np 2 --oversubscribe --bind-to none
  --mca btl self,vader --mca oob_tcp_if_include lo)
log() { echo "$(date -u +%H:%M:%S) $*"; }

# Text that is quickly memorized, so that only the keys are left to learn.
prepare() {
  if [[ -e $grid/data/done ]]; then return; fi
  mkdir -p "$grid/data"
  printf 'Rain fell on the hills. A train went by. The bread was still warm. %.0s' {1..1000} \
    >"$grid/data/text.txt"
  "$lextra" prepare --output="$grid/data/text" --validation_fraction=0 "$grid/data/text.txt"
  "$lextra" synthesize --data="$grid/data/text-train" --output="$grid/data/keys" \
    --length=$length --documents=80000
  "$lextra" synthesize --data="$grid/data/text-train" --output="$grid/data/other_keys" \
    --length=$length --documents=500 --seed=2
  touch "$grid/data/done"
}

# Larger initial weights than the preset's: with those, nothing is copied even after
# a thousand steps.
train() {
  local method=$1 run=$2
  if [[ -e $run/trained ]]; then return; fi
  log "train $method"
  "${mpirun[@]}" "$lextra" train --config=quickstart --run_dir="$run" \
    data.train="$grid/data/keys" data.validation="$grid/data/other_keys" \
    data.global_batch_size=64 model.position_encoding="$method" model.init_std=0.1 \
    schedule.num_steps="$steps" schedule.learning_rate=2e-3 schedule.min_learning_rate=2e-4 \
    schedule.warmup_steps=100 evaluation.validation_interval_steps=200 logging.interval_steps=100 \
    >"$run.log" 2>&1 || { tail -5 "$run.log"; return 1; }
  touch "$run/trained"
}

ask() {
  local run=$1
  if [[ -e $run/eval/results.json ]]; then return; fi
  log "ask $run"
  "${mpirun[@]}" "$lextra" evaluate --checkpoint="$run" --results_dir="$run/eval" \
    data.validation="$grid/data/text-train" evaluation.protocols=[NON_OVERLAPPING] \
    evaluation.max_tokens=4096 "evaluation.lengths=[$length]" \
    "evaluation.masks=[CAUSAL, BCA, WINDOW]" evaluation.synthetic_trials=50 \
    "evaluation.passkey_lengths=[$length, $((2 * length)), $((4 * length)), $((8 * length))]" \
    >"$run-eval.log" 2>&1 || { tail -5 "$run-eval.log"; return 1; }
}

mkdir -p "$grid"
prepare
for method in $methods; do train "$method" "$grid/${method,,}"; done
for method in $methods; do ask "$grid/${method,,}"; done
log "report"
"$lextra" report --output="$grid/report" --title="Passkeys" "$grid"/*/eval
