#!/usr/bin/env bash
# Every claim about one GPU, on any machine that has one: from a checkout with a
# build or from an unpacked bundle. Writes gpu_check.json and prints a table; the
# status is not zero if a claim fails. See gpu_check.py for the claims.
#
#   deploy/checks/gpu_check.sh [--output=FOLDER] [--device=cuda|cpu] [--claims=a,b,...]
#                       [--override=section.field=value ...]
#
# --device=cpu holds CPU runs against CPU runs: a test of this script.
# --override is for the runs under test alone; model.init_seed=2 must fail them.
exec python3 -B "$(dirname "$0")/gpu_check.py" "$@"
