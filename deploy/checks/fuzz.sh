#!/usr/bin/env bash
# Runs the fuzz targets of tests/fuzz under ASan and UBSan, two at a time, and
# prints a table. The exit status is nonzero if a target crashed, hung, leaked or
# used too much memory; the input that caused it is kept in build-asan/crashes/.
#
#   deploy/checks/fuzz.sh [--seconds=30 | --runs=N] [TARGET ...]     (default: all targets)
#
# Inputs found in earlier runs are kept in build-asan/found/TARGET/ and used
# again. Needs what `deploy/setup.sh --tests` installs, but not LibTorch.
set -euo pipefail
cd "$(dirname "$0")/../.."

limit=-max_total_time=30
targets=()
for argument in "$@"; do
  case $argument in
    --seconds=*) limit=-max_total_time=${argument#*=} ;;
    --runs=*) limit=-runs=${argument#*=} ;;
    -*) echo "fuzz: unknown flag $argument" >&2; exit 2 ;;
    *) targets+=("$argument") ;;
  esac
done
if ((${#targets[@]} == 0)); then
  for folder in tests/fuzz/corpus/*/; do targets+=("$(basename "$folder")"); done
fi
for target in "${targets[@]}"; do
  [[ -e tests/fuzz/${target}_fuzz.cc ]] ||
    { echo "fuzz: no target $target; see tests/fuzz/" >&2; exit 2; }
done

build=build-asan
mkdir -p $build
{ cmake --preset asan && cmake --build $build --target fuzz_programs; } \
  >$build/fuzz.log 2>&1 || { tail -40 $build/fuzz.log; exit 1; }

# The targets' files never touch a disk.
files=$(mktemp -d "$([[ -w /dev/shm ]] && echo /dev/shm || echo /tmp)/lextra-fuzz-XXXXXX")
trap 'rm -rf "$files"' EXIT
mkdir -p $build/crashes
export TMPDIR=$files
# Freed memory that ASan holds back would hide what the target itself uses.
export ASAN_OPTIONS=quarantine_size_mb=16

# libFuzzer runs the corpus first, then the fuzzing that `limit` bounds.
run_target() {
  local target=$1 log=$build/$1.log found=$build/found/$1
  mkdir -p "$found"
  $build/tests/fuzz/"${target}"_fuzz "$limit" -max_len=4096 -timeout=5 \
    -malloc_limit_mb=256 -rss_limit_mb=512 -print_final_stats=1 \
    -artifact_prefix="$build/crashes/$target-" \
    "$found" "tests/fuzz/corpus/$target" >"$log" 2>&1
}

stat() { sed -n "s/^stat::$2: *//p" "$build/$1.log" | tail -1; }

print_row() {
  local crash
  crash=$(sed -n 's/.*Test unit written to //p' "$build/$1.log" | tail -1)
  printf '%-14s %10s %9s %9s %8s  %s\n' "$1" \
    "$(stat "$1" number_of_executed_units)" "$(stat "$1" average_exec_per_sec)" \
    "$(stat "$1" peak_rss_mb)" "$(stat "$1" new_units_added)" "${crash:-none}"
}

printf '%-14s %10s %9s %9s %8s  %s\n' target runs "runs/s" "peak MiB" new crash
failed=0
for ((i = 0; i < ${#targets[@]}; i += 2)); do
  pids=()
  pair=("${targets[@]:i:2}")
  for target in "${pair[@]}"; do
    run_target "$target" &
    pids+=($!)
  done
  for k in "${!pair[@]}"; do
    wait "${pids[k]}" || { failed=1; tail -30 "$build/${pair[k]}.log" >&2; }
    print_row "${pair[k]}"
  done
done
exit "$failed"
