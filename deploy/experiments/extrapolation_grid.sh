#!/usr/bin/env bash
# The comparison that the paper did not make: every position method trained on the
# same data with the same seeds and steps, every mask at about the same number of
# keys per token, at lengths up to 16 times the training length, in one report.
# Resumes where it was stopped: finished runs and evaluations are kept.
#
#   deploy/experiments/extrapolation_grid.sh --preset=cpu|gpu [--methods="XPOS ROPE"] [--seeds="1 2"]
#
#   cpu   18 models of 0.8 M parameters, within an hour on two cores
#   gpu   models of 124 M parameters on one GPU, planned for nine minutes a part
#         (it has not run yet): --methods=XPOS --seeds=1, then --methods=ROPE ...
#
# Runs are in runs/grid/PRESET/, the report on all of them in
# runs/grid/PRESET/report/. The text is ../shared/corpora where that is present,
# otherwise the quickstart's.
set -euo pipefail
cd "$(dirname "$0")/../.."

methods="XPOS ROPE ALIBI SINUSOIDAL LEARNED NONE"
seeds="1 2 3"
for argument in "$@"; do
  case "$argument" in
    --preset=*) preset=${argument#*=} ;;
    --methods=*) methods=${argument#*=} ;;
    --seeds=*) seeds=${argument#*=} ;;
    *) echo "extrapolation_grid.sh: unknown argument $argument" >&2; exit 2 ;;
  esac
done
case "${preset:-}" in
  cpu)
    ranks=2
    length=128
    training=(--config=quickstart schedule.num_steps=600 evaluation.validation_interval_steps=600)
    scoring=(evaluation.max_tokens=65536)
    gaining=(evaluation.max_tokens=4096)
    ;;
  gpu)
    ranks=1
    length=512
    training=(--config=lex_124m model.training_length=512 data.global_batch_size=128
      data.micro_batch_size=32 schedule.num_steps=1200 schedule.warmup_steps=100
      checkpoint.interval_steps=400 evaluation.validation_interval_steps=400)
    scoring=(evaluation.max_tokens=1048576 parallel.device=CUDA)
    gaining=(evaluation.max_tokens=32768 parallel.device=CUDA)
    ;;
  *) echo "extrapolation_grid.sh: --preset=cpu or --preset=gpu" >&2; exit 2 ;;
esac

lextra=build/launch/lextra
grid=runs/grid/$preset
data=runs/grid/data
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
mpirun=(mpirun -np "$ranks" --oversubscribe --bind-to none
  --mca btl self,vader --mca oob_tcp_if_include lo)
log() { echo "$(date -u +%H:%M:%S) $*"; }

prepare() {
  if [[ -e $data/done ]]; then return; fi
  mkdir -p "$data"
  if [[ -e ../shared/corpora/books.train.jsonl.gz ]]; then
    # Novels; no author is on both sides.
    "$lextra" prepare --output="$data/text" --validation_fraction=0 \
      ../shared/corpora/books.train.jsonl.gz
    "$lextra" prepare --output="$data/text" --validation_fraction=1 \
      ../shared/corpora/books.val.jsonl.gz
  else
    "$lextra" prepare --output="$data/text" --extension=.py \
      "${LEXTRA_CACHE:-$HOME/.cache/lextra}/libtorch-2.11.0/torch"
  fi
  touch "$data/done"
}

# Sinusoids have amplitude 1 and would swamp embeddings of standard deviation 0.02,
# so for this method embeddings are scaled to 1 as well.
train() {
  local method=$1 seed=$2 run=$3
  if [[ -e $run/trained ]]; then return; fi
  log "train $method, seed $seed"
  local scale=1
  if [[ $method == SINUSOIDAL ]]; then scale=50; fi
  "${mpirun[@]}" "$lextra" train "${training[@]}" --run_dir="$run" \
    data.train="$data/text-train" data.validation="$data/text-validation" \
    model.position_encoding="$method" model.embedding_scale="$scale" \
    model.init_seed="$seed" data.shuffle_seed="$seed" \
    >"$run.log" 2>&1 || { tail -5 "$run.log"; return 1; }
  touch "$run/trained"
}

evaluate() {
  local run=$1 folder=$2
  shift 2
  if [[ -e $run/$folder/results.json ]]; then return; fi
  log "evaluate $run, $folder"
  "${mpirun[@]}" "$lextra" evaluate --checkpoint="$run" --results_dir="$run/$folder" \
    evaluation.window_size=$((length * 3 / 4)) "$@" \
    >"$run-$folder.log" 2>&1 || { tail -5 "$run-$folder.log"; return 1; }
}

score() {
  local method=$1 run=$2
  local lengths="" gains="" extensions="NONE" resolution="$length, $((2 * length))"
  local factor
  for factor in 1 2 4 8 16 32 64; do lengths+="${lengths:+, }$((length * factor / 4))"; done
  for factor in 1 2 4 8 16; do gains+="${gains:+, }$((length * factor))"; done
  case $method in
    XPOS | ROPE) extensions="NONE, LINEAR, NTK, YARN" ;;
    LEARNED)
      lengths="$((length / 4)), $((length / 2)), $length"
      gains=$length
      resolution=$length
      ;;
  esac
  evaluate "$run" eval "${scoring[@]}" evaluation.protocols=[NON_OVERLAPPING] \
    "evaluation.masks=[CAUSAL, BCA, WINDOW, WINDOW_AND_SINKS]" "evaluation.lengths=[$lengths]" \
    "evaluation.rope_scaling=[$extensions]" \
    "evaluation.resolution_lengths=[$resolution]"
  evaluate "$run" gain "${gaining[@]}" evaluation.protocols=[SAME_TARGETS] \
    "evaluation.masks=[CAUSAL, BCA, WINDOW]" "evaluation.lengths=[$gains]" \
    "evaluation.stride=$((length / 2))"
}

mkdir -p "$grid"
prepare
for seed in $seeds; do
  for method in $methods; do train "$method" "$seed" "$grid/${method,,}-$seed"; done
done
for seed in $seeds; do
  for method in $methods; do score "$method" "$grid/${method,,}-$seed"; done
done
log "report"
"$lextra" report --output="$grid/report" --title="Length extrapolation, preset $preset" \
  "$grid"/*/eval "$grid"/*/gain
