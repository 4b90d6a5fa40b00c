#!/usr/bin/env bash
# Runs the program of the bundle under whose name it is called, with the bundle's
# libraries and LibTorch on the path. LibTorch is taken from, in this order,
# --torch=FOLDER (first argument; contains torch/), $LEXTRA_TORCH_DIR, the bundle's
# site/, the PyTorch of the active python3. A PyTorch without CUDA serves CPU runs.
set -euo pipefail

bundle=$(cd "$(dirname "$(readlink -f "$0")")/.." && pwd)
name=$(basename "$0")
export OPAL_PREFIX=$bundle PMIX_PREFIX=$bundle
export OPAL_PKGLIBDIR=$bundle/lib/openmpi3 OPAL_PKGDATADIR=$bundle/share/openmpi
export PMIX_PKGLIBDIR=$bundle/lib/pmix PMIX_PKGDATADIR=$bundle/share/pmix

fail() { echo "$name: $1" >&2; exit 3; }

find_torch() {
  if [[ ! ${LEXTRA_TORCH_DIR:-} ]]; then
    if [[ -d $bundle/site/torch ]]; then
      LEXTRA_TORCH_DIR=$bundle/site
    else
      # find_spec does not import it.
      LEXTRA_TORCH_DIR=$(python3 -c '
import importlib.util, os
spec = importlib.util.find_spec("torch")
print(os.path.dirname(os.path.dirname(spec.origin)) if spec and spec.origin else "")' 2>/dev/null || true)
    fi
  fi
  [[ $LEXTRA_TORCH_DIR ]] || fail "the active python3 has no PyTorch: activate an environment with PyTorch 2.11, or give its site-packages folder as --torch=FOLDER or LEXTRA_TORCH_DIR"
  local version=$LEXTRA_TORCH_DIR/torch/version.py
  [[ -r $version ]] || fail "$LEXTRA_TORCH_DIR has no torch/version.py: give the folder that contains torch/"
  version=$(sed -n "s/^__version__ = ['\"]\(.*\)['\"]/\1/p" "$version")
  [[ $version == 2.11.* ]] || fail "$LEXTRA_TORCH_DIR has PyTorch $version, but this program was built for 2.11"
  export LEXTRA_TORCH_DIR
}

library_path=$bundle/lib
if [[ ${1:-} == --torch=* ]]; then LEXTRA_TORCH_DIR=${1#*=}; shift; fi
case $name in
  mpirun | orterun | orted) ;;
  *) find_torch
    # The CUDA module needs the runtime and NCCL of the same environment.
    nvidia=$LEXTRA_TORCH_DIR/nvidia
    library_path=$LEXTRA_TORCH_DIR/torch/lib:$nvidia/cu13/lib:$nvidia/nccl/lib:$library_path ;;
esac
export LD_LIBRARY_PATH=$library_path${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
exec -a "$0" "$bundle/libexec/$name" "$@"
