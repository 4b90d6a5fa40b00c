#!/usr/bin/env bash
# The whole workflow on a bare machine: set up, build, prepare a corpus, train on
# short samples with two ranks, evaluate documents up to 64 times as long. Writes
# runs/quickstart/.
#
#   deploy/quickstart.sh
set -euo pipefail
cd "$(dirname "$0")/.."

deploy/setup.sh
deploy/build.sh lextra
lextra=build/launch/lextra
run=runs/quickstart
corpus=$run/data/python

# Open MPI refuses to run as root without these; both ranks run on this host.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
mpirun=(mpirun -np 2 --oversubscribe --bind-to none
  --mca btl self,vader --mca oob_tcp_if_include lo)

echo
echo "== 1. prepare: the Python sources inside the wheel, one document a file"
mkdir -p "$run"
"$lextra" prepare --output="$corpus" --extension=.py \
  "${LEXTRA_CACHE:-$HOME/.cache/lextra}/libtorch-2.11.0/torch"

echo
echo "== 2. train: two data-parallel ranks, samples of 128 tokens"
"${mpirun[@]}" "$lextra" train --config=quickstart --run_dir="$run" \
  data.train="$corpus-train" data.validation="$corpus-validation"

echo
echo "== 3. evaluate: documents spread over two ranks, 1 to 64 times as long"
"${mpirun[@]}" "$lextra" evaluate --checkpoint="$run" \
  parallel.data=1 parallel.context=2

echo
echo "checkpoints, metrics and results are in $run"
