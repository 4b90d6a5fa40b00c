#!/usr/bin/env bash
# Packs the build into a relocatable tarball: the program and its CUDA module, the
# GPU tests, mpirun, and all their libraries except libc, libstdc++ and LibTorch. It
# runs where a Python environment has PyTorch 2.11 (with --with_libtorch, CPU runs
# need none) and where glibc and libstdc++ are at least as new as here.
#
#   deploy/bundle.sh [--output=lextra-bundle.tar.gz] [--with_libtorch]
#
# Its Open MPI uses shared memory and TCP; fabrics (UCX, libfabric, verbs) are left
# out, because they need libraries of the machine.
#
# LEXTRA_CACHE   where LibTorch is (default ~/.cache/lextra)
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
build=${LEXTRA_BUILD_DIR:-$root/build}
libtorch=${LEXTRA_CACHE:-$HOME/.cache/lextra}/libtorch-2.11.0
output=lextra-bundle.tar.gz with_libtorch=
for argument in "$@"; do
  case $argument in
    --output=?*) output=${argument#*=} ;;
    --with_libtorch) with_libtorch=1 ;;
    *) echo "bundle: unknown argument $argument" >&2; exit 2 ;;
  esac
done
[[ -x $build/launch/lextra ]] || { echo "bundle: $build/launch/lextra is missing: run deploy/build.sh" >&2; exit 3; }

staging=$(mktemp -d)
trap 'rm -rf "$staging"' EXIT
bundle=$staging/lextra-bundle
mkdir -p "$bundle"/{bin,libexec,lib/openmpi3,lib/pmix,share,tests/benchmarks/peers}

# The programs. Symbolic links in bin/ point to the one wrapper.
programs=("$build/launch/lextra" "$(readlink -f "$(command -v orterun)")" "$(readlink -f "$(command -v orted)")")
for program in "$build"/launch/{lextra_cuda.so,*gpu*_test} "$build"/tests/benchmarks/lextra_train_speed; do
  [[ -e $program ]] && programs+=("$program")
done
cp "${programs[@]}" "$bundle/libexec/"
ln -s orterun "$bundle/libexec/mpirun"
cp "$root/deploy/bundle_wrapper.sh" "$bundle/bin/wrapper"
for program in "$bundle"/libexec/*; do
  name=$(basename "$program")
  [[ $name == *.so ]] || ln -s wrapper "$bundle/bin/$name"
done

# Open MPI and PMIx find their plugins by prefix.
openmpi=$(ompi_info --path pkglibdir --parsable | cut -d: -f3)
pmix=$(dirname "$(readlink -f "$(ldd "$openmpi/mca_pmix_ext3x.so" | awk '/libpmix/ {print $3}')")")
cp "$openmpi"/mca_*.so "$bundle/lib/openmpi3/"
rm -f "$bundle"/lib/openmpi3/mca_{*ucx,*ofi,*openib,*psm*,*flux*,*romio*,*monitoring,*netlink,*bzip,*jsm,spml*,sshmem*,scoll*,memheap*}.so
cp "$pmix"/pmix/*.so "$bundle/lib/pmix/"
cp -r "$pmix/../share/pmix" "$bundle/share/"
cp -r "$(ompi_info --path pkgdatadir --parsable | cut -d: -f3)" "$bundle/share/openmpi"

# Every library they load, except those of libc, the compiler and LibTorch. A library
# that is not found is an error.
mapfile -t files < <(find "$bundle/libexec" "$bundle/lib" -type f)
export LD_LIBRARY_PATH=$libtorch/torch/lib
ldd "${files[@]}" >"$staging/ldd" 2>/dev/null || true
if grep 'not found' "$staging/ldd" | grep -vE 'lib(torch_cuda|c10_cuda|nccl|cu|nv)' >&2; then
  echo "bundle: the libraries above are missing on this machine" >&2
  exit 1
fi
awk '/=> \// {print $3}' "$staging/ldd" | sort -u |
  grep -vE "^$libtorch|/(ld-linux|lib(c|m|dl|rt|pthread|util|resolv|stdc\+\+|gcc_s|gomp|nccl|nv[a-zA-Z_]+|cu[a-zA-Z]+))[-.]" |
  while read -r library; do cp -L "$library" "$bundle/lib/"; done
# PyTorch may ship it under another name; if it has this one, that is used.
cp -L "$(g++ -print-file-name=libgomp.so.1)" "$bundle/lib/"
find "$bundle/libexec" "$bundle/lib" -type f -exec strip --strip-unneeded {} +

cp -r "$root/deploy" "$bundle/"
cp "$root"/tests/benchmarks/*.{sh,py} "$bundle/tests/benchmarks/"
cp "$root"/tests/benchmarks/peers/*.py "$bundle/tests/benchmarks/peers/"
cp "$root/README.md" "$root/docs/operations.md" "$bundle/"
git -C "$root" describe --always --dirty >"$bundle/COMMIT" 2>/dev/null || echo unknown >"$bundle/COMMIT"

if [[ $with_libtorch ]]; then
  # What CPU runs need; a GPU also needs PyTorch's 2.6 GB of CUDA libraries.
  mkdir -p "$bundle/site/torch/lib"
  cp "$libtorch/torch/version.py" "$bundle/site/torch/"
  cp "$libtorch"/torch/lib/{libtorch_cpu.so,libc10.so,libgomp*} "$bundle/site/torch/lib/"
  cp -r "$libtorch/nvidia" "$bundle/site/"
  find "$bundle/site" \( -name '*.a' -o -name include \) -prune -exec rm -rf {} +
fi
tar -C "$staging" -czf "$output" lextra-bundle
echo "$output: $(($(stat -c %s "$output") >> 20)) MiB; on this machine glibc is $(getconf GNU_LIBC_VERSION | cut -d' ' -f2)"
