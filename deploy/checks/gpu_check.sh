#!/usr/bin/env bash
# Checks every claim about one GPU, on any machine that has one: from a checkout with
# a build or from an unpacked bundle. Writes gpu_check.json and prints a table; the
# exit status is nonzero if a claim fails. See gpu_check.py for the claims.
#
#   deploy/checks/gpu_check.sh [--output=FOLDER] [--device=cuda|cpu] [--claims=a,b,...]
#                       [--override=section.field=value ...]
#
# --device=cpu compares CPU runs with CPU runs: a test of this script.
# --override applies only to the runs under test; model.init_seed=2 must fail them.
exec python3 -B "$(dirname "$0")/gpu_check.py" "$@"
