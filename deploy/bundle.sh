#!/usr/bin/env bash
# Packs what deploy/build.sh has built into one file that runs where neither our
# packages nor Open MPI are installed, but PyTorch 2.11 is (for GPUs its CUDA 13
# build), on x86-64 with glibc 2.36 or newer:
#
#   deploy/bundle.sh [--output=FILE.tar.gz] [--with_libtorch]
#
#   tar xf FILE.tar.gz && lextra-bundle/bin/mpirun -np 2 lextra-bundle/bin/lextra ...
#
# LibTorch is taken from $LEXTRA_TORCH (the folder that holds torch/), or from
# the python3 on the PATH; with --with_libtorch it is in the file.
set -euo pipefail
cd "$(dirname "$0")/.."

output=lextra-bundle.tar.gz with_libtorch=""
for argument in "$@"; do
  case $argument in
    --output=?*) output=${argument#*=} ;;
    --with_libtorch) with_libtorch=yes ;;
    *) echo "bundle: unknown argument $argument" >&2; exit 2 ;;
  esac
done
[[ -x build/launch/lextra ]] ||
  { echo "bundle: build/launch/lextra is missing: run deploy/build.sh" >&2; exit 1; }
libtorch=${LEXTRA_CACHE:-$HOME/.cache/lextra}/libtorch-2.11.0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bundle=$work/lextra-bundle
mkdir -p "$bundle"/{bin,deploy,lib,programs,openmpi/bin}

# Programs lie beside the module of CUDA, as in the build.
find build/launch -maxdepth 1 -type f \( -executable -o -name '*.so' \) \
  -exec cp {} "$bundle/programs/" \;
cp "$(readlink -f "$(command -v mpirun)")" "$bundle/openmpi/bin/mpirun"
cp "$(readlink -f "$(command -v orted)")" "$bundle/openmpi/bin/orted"

# Open MPI's and PMIx's plugins and texts, where they say they are.
path_of() { ompi_info --parsable --path "$1" | sed -n "s/^path:$1://p" | head -1; }
cp -r "$(path_of pkglibdir)" "$bundle/openmpi/plugins"
cp -r "$(path_of pkgdatadir)" "$bundle/openmpi/share"
cp -r "$(path_of sysconfdir)" "$bundle/openmpi/etc"
pmix=$(ldd "$bundle"/openmpi/plugins/mca_pmix_ext*.so | sed -n 's/.*libpmix[^>]*> \([^ ]*\) .*/\1/p')
pmix=$(dirname "$(readlink -f "$pmix")")
cp -r "$pmix/pmix" "$bundle/openmpi/pmix"
# For other networks, launchers and file systems, with large libraries.
rm -f "$bundle"/openmpi/plugins/mca_{btl_ofi,btl_openib,pml_ucx}.so \
  "$bundle"/openmpi/plugins/mca_{mtl,osc,atomic,memheap,scoll,spml,sshmem,io,fs,fcoll,fbtl,sharedfp}_*.so

# Shared libraries, except those of the C and C++ runtimes, which the target's
# LibTorch needs in its own versions, and those that come with LibTorch.
excluded='^lib(c|m|dl|pthread|rt|util|resolv|stdc\+\+|gcc_s|gomp|c10.*|torch.*|cu.*|nv.*|nccl)\.so'
find "$bundle" -type f \( -executable -o -name '*.so*' \) -print0 | xargs -0 -n1 ldd 2>/dev/null |
  sed -n 's/^\s*\([^ ]*\) => \(\/[^ ]*\) .*/\1 \2/p' | sort -u |
  while read -r name path; do
    if [[ $name =~ $excluded || $path == "$libtorch"/* ]]; then continue; fi
    cp -n "$(readlink -f "$path")" "$bundle/lib/$name"
  done
find "$bundle" -type f \( -executable -o -name '*.so*' \) -exec strip --strip-unneeded {} + 2>/dev/null || true

cp deploy/gpu_*.sh deploy/gpu_*.py "$bundle/deploy/" 2>/dev/null || true
cp -r tests/benchmarks/peers "$bundle/deploy/peers"
git rev-parse HEAD >"$bundle/COMMIT" 2>/dev/null || echo unknown >"$bundle/COMMIT"
if [[ -n $with_libtorch ]]; then
  mkdir "$bundle/python"
  cp -r "$libtorch"/torch "$libtorch"/nvidia "$bundle/python/"
fi

cat >"$bundle/bin/environment" <<'EOF'
# Read by the programs beside it: where Open MPI, our libraries and LibTorch are.
bundle=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
export OPAL_PREFIX=$bundle/openmpi OPAL_BINDIR=$bundle/openmpi/bin
export OPAL_LIBDIR=$bundle/lib OPAL_PKGLIBDIR=$bundle/openmpi/plugins
export OPAL_PKGDATADIR=$bundle/openmpi/share OPAL_SYSCONFDIR=$bundle/openmpi/etc
export PMIX_PREFIX=$bundle/openmpi PMIX_PKGLIBDIR=$bundle/openmpi/pmix
export PMIX_LIBDIR=$bundle/lib PMIX_INSTALL_PREFIX=$bundle/openmpi
if [[ -z ${LEXTRA_TORCH:-} && -d $bundle/python/torch ]]; then
  LEXTRA_TORCH=$bundle/python
fi
if [[ -z ${LEXTRA_TORCH:-} ]]; then
  LEXTRA_TORCH=$(python3 -c 'import importlib.util as u; s = u.find_spec("torch")
print(s.submodule_search_locations[0].rsplit("/", 1)[0] if s else "")' 2>/dev/null || true)
fi
version=$(sed -n "s/^__version__ = '\(.*\)'/\1/p" "$LEXTRA_TORCH/torch/version.py" 2>/dev/null || true)
if [[ $version != 2.11.* ]]; then
  echo "lextra: PyTorch 2.11 is needed, found ${version:-none} in" \
    "'${LEXTRA_TORCH}': set LEXTRA_TORCH to the folder that holds torch/, or" \
    "put its python3 on the PATH" >&2
  exit 2
fi
export LEXTRA_TORCH
export LD_LIBRARY_PATH=$bundle/lib:$LEXTRA_TORCH/torch/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
EOF
for program in "$bundle"/programs/*; do
  name=$(basename "$program")
  if [[ $name == *.so ]]; then continue; fi
  cat >"$bundle/bin/$name" <<'EOF'
#!/usr/bin/env bash
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/environment"
exec "$bundle/programs/$(basename "$0")" "$@"
EOF
done
sed 's|programs/$(basename "$0")|openmpi/bin/mpirun|' "$bundle/bin/lextra" >"$bundle/bin/mpirun"
chmod +x "$bundle"/bin/*
chmod -x "$bundle/bin/environment"

mkdir -p "$(dirname "$output")"
tar czf "$output" -C "$work" lextra-bundle
echo "bundle: $output, $(($(stat -c %s "$output") / 1000000)) MB"
