#!/usr/bin/env bash
# Sets up a Debian 12 machine to build lextra: packages, and LibTorch from the
# PyTorch 2.11 wheel in a cache outside the checkout. Safe to rerun.
#
#   deploy/setup.sh [--tests]     --tests: also what deploy/test.sh needs
#
# LEXTRA_CACHE   the cache (default ~/.cache/lextra)
set -euo pipefail

cache=${LEXTRA_CACHE:-$HOME/.cache/lextra}
libtorch=$cache/libtorch-2.11.0

packages=(g++ cmake ninja-build git unzip python3 libopenmpi-dev openmpi-bin
  libabsl-dev libprotobuf-dev protobuf-compiler nlohmann-json3-dev zlib1g-dev
  libxxhash-dev libgtest-dev libgmock-dev)
if [[ ${1:-} == --tests ]]; then
  packages+=(clang-format clang libclang-rt-14-dev llvm libfuse3-dev e2fsprogs libbenchmark-dev
    chromium)
fi
if ! python3 -m pip --version >/dev/null 2>&1; then packages+=(python3-pip); fi

as_root() { if [[ $(id -u) == 0 ]]; then "$@"; else sudo "$@"; fi; }

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if ((${#missing[@]})); then
  echo "setup: installing packages: ${missing[*]}"
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

# Of the wheels the program needs only libtorch_cpu, libc10, libgomp and two small
# CUDA libraries that libtorch_cpu links to; they work without a GPU. The wheel for
# CPython 3.11 is used whatever Python runs here: nothing imports it.
if [[ ! -e $libtorch/complete ]]; then
  echo "setup: fetching LibTorch 2.11 (530 MB) into $libtorch"
  mkdir -p "$cache"
  staging=$(mktemp -d "$cache/staging-XXXXXX")
  trap 'rm -rf "$staging"' EXIT
  cat >"$staging/requirements.txt" <<'PINS'
torch==2.11.0 --hash=sha256:7aa2f9bbc6d4595ba72138026b2074be1233186150e9292865e04b7a63b8c67a
nvidia-cuda-runtime==13.0.96 --hash=sha256:7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548
nvidia-cuda-cupti==13.0.85 --hash=sha256:4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8
PINS
  python3 -m pip download --quiet --no-deps --only-binary=:all: --require-hashes \
    --python-version 3.11 --implementation cp \
    --platform manylinux_2_28_x86_64 --platform manylinux_2_25_x86_64 \
    --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
    --dest "$staging/wheels" --requirement "$staging/requirements.txt"
  mkdir "$staging/site"
  for wheel in "$staging"/wheels/*.whl; do unzip -q -o "$wheel" -d "$staging/site"; done
  touch "$staging/site/complete"
  rm -rf "$libtorch"
  mv "$staging/site" "$libtorch"
  rm -rf "$staging"
  trap - EXIT
fi
echo "setup: ready (LibTorch in $libtorch)"
