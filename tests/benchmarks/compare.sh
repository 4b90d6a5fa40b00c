#!/usr/bin/env bash
# Lextra against PyTorch on the same work, interleaved in one run: in every round
# each contender makes its steps in turn, and the medians over the rounds are
# compared.
#
#   tests/benchmarks/compare.sh [--cases=train_2.7m,train_14.3m] [--rounds=7]
#                               [--steps=10] [--json=FILE]
#
# LEXTRA_PEER_PYTHON   a Python with PyTorch 2.11; otherwise one is made in a
#                      virtual environment in the cache (2.5 GB download)
set -euo pipefail
cd "$(dirname "$0")/../.."
cache=${LEXTRA_CACHE:-$HOME/.cache/lextra}

cases=train_2.7m rounds=7 steps=10 json=
for argument in "$@"; do
  case $argument in
    --cases=*) cases=${argument#*=} ;;
    --rounds=*) rounds=${argument#*=} ;;
    --steps=*) steps=${argument#*=} ;;
    --json=*) json=${argument#*=} ;;
    *) echo "compare.sh: unknown argument $argument" >&2; exit 2 ;;
  esac
done

python=${LEXTRA_PEER_PYTHON:-$cache/peer/bin/python}
if [[ ! -x $python ]]; then
  python3 -m venv "$cache/peer"
  "$cache/peer/bin/pip" install --quiet torch==2.11.0 numpy safetensors
fi
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
lextra=build/tests/benchmarks/lextra_train_speed
mpirun=(mpirun --oversubscribe --bind-to none --mca btl self,vader --mca oob_tcp_if_include lo)

options_of() {
  case $1 in
    train_2.7m) echo --layers=6 --width=192 --heads=6 --length=256 --batch=16 --vocabulary=320 ;;
    train_14.3m) echo --layers=8 --width=384 --heads=6 --length=512 --batch=8 --vocabulary=320 ;;
    *) echo "compare.sh: unknown case $1" >&2; exit 2 ;;
  esac
}

results=$(mktemp)
trap 'rm -f "$results"' EXIT
record() { # case contender command...
  local line
  line=$("${@:3}" 2>/dev/null | grep step_ms)
  echo "$1 $2 ${line#step_ms }" | tee -a "$results"
}
for case in ${cases//,/ }; do
  read -ra options < <(options_of "$case")
  for ((round = 0; round < rounds; ++round)); do
    record "$case" pytorch_eager "$python" -B tests/benchmarks/peers/training_speed.py \
      "${options[@]}" --threads=2 --steps="$steps"
    record "$case" lextra "$lextra" "${options[@]}" --threads=2 --steps="$steps"
    record "$case" lextra_data2 "${mpirun[@]}" -np 2 "$lextra" "${options[@]}" --threads=1 --steps="$steps"
    record "$case" lextra_tensor2 "${mpirun[@]}" -np 2 "$lextra" "${options[@]}" --threads=1 --tensor=2 --steps="$steps"
  done
done
python3 -B tests/benchmarks/summarize.py "$results" "$json"
