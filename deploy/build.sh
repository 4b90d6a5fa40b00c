#!/usr/bin/env bash
# Configures and builds: deploy/build.sh [TARGET ...] (default: everything) in
# build/. CUDA code is compiled where nvcc is present.
set -euo pipefail
cd "$(dirname "$0")/.."
cmake -S . -B build -G Ninja -DCMAKE_BUILD_TYPE=Release \
  -DLEXTRA_LIBTORCH_DIR="${LEXTRA_CACHE:-$HOME/.cache/lextra}/libtorch-2.11.0" >build.log 2>&1 ||
  { cat build.log; exit 1; }
cmake --build build -- ${1:+"$@"}
