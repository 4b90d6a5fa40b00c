#!/usr/bin/env bash
# Shows every claim about GPUs on a machine with at least one, from a build or
# from an unpacked bundle; writes gpu_check.json into the output folder. The
# status is not zero if a claim fails.
#
#   deploy/gpu_check.sh [--output=FOLDER] [--device=cuda|cpu] [--claims=a,b]
set -euo pipefail
exec python3 "$(dirname "$(readlink -f "$0")")/gpu_check.py" "$@"
