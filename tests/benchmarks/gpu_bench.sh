#!/usr/bin/env bash
# Speed on one GPU: training of 124M and 355M parameters in bf16 with xPos, without
# positions, and in PyTorch, in turns; then scoring of short and long documents by
# blockwise causal attention. Writes gpu_bench.json and gpu_bench.md.
#
#   tests/benchmarks/gpu_bench.sh [--output=FOLDER] [--models=124m,355m] [--rounds=5]
#                       [--steps=30] [--device=cuda|cpu] [--small]
#
# --small: a tiny model that shows on a CPU that the script works.
# LEXTRA_PEER_PYTHON   a Python with PyTorch 2.11 (default: the active python3)
here=$(dirname "$0")
PYTHONPATH=$here/../../deploy/checks exec python3 -B "$here/gpu_bench.py" "$@"
