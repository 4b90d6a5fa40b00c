#!/usr/bin/env bash
# Lextra against PyTorch on the same work, in one run. The contenders of a case are
# all started and warmed up, then take turns: in every round each makes a step (or a
# pass over a document) while the others sleep, in an order that rotates. So what
# disturbs the machine disturbs all alike; ratios are medians of the rounds' ratios.
# Contenders with the same work must come to the same loss: otherwise it fails.
#
#   tests/benchmarks/compare.sh [--cases=train_2.7m,...] [--rounds=N] [--steps=N]
#                               [--json=FILE] [--markdown=FILE]
#   tests/benchmarks/compare.sh --list
#
# --cases       what is compared (default: everything; --list says what there is)
# --rounds      each contender's turns (default: the case's own)
# --steps       steps in a turn (default 1)
# --contenders  only these, or all whose names begin so: --contenders=lextra
# --quick       toy sizes, to see that everything runs
#
# Whether goals are met is in the table, not in the exit code. An idle machine is
# needed, and the programs of tests/benchmarks (deploy/build.sh).
#
# LEXTRA_PEER_PYTHON   a Python with PyTorch 2.11; otherwise one is made in a
#                      virtual environment in the cache (2.5 GB download), when the
#                      first contender needs it
set -euo pipefail
cd "$(dirname "$0")/../.."
exec python3 -B tests/benchmarks/compare.py "$@"
