#!/usr/bin/env bash
# Builds everything that does not need LibTorch with clang and runs its unit tests,
# including the replay of the fuzz corpora: under ASan (with leaks) and UBSan, then
# under TSan. The last line counts tests; the exit status says whether all passed.
#
#   deploy/checks/sanitize.sh [--build_only] [asan | tsan]     (default: both)
#
# No suppressions. Debian's protobuf, absl and gtest are not instrumented, which
# gives no false alarms here: libstdc++ does not annotate containers, and what
# these libraries share between threads is behind pthread locks that TSan sees.
# Needs what `deploy/setup.sh --tests` installs, but not LibTorch.
set -euo pipefail
cd "$(dirname "$0")/../.."

# A finding ends the test with an exit status that no test uses.
export ASAN_OPTIONS=exitcode=99:detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1
export UBSAN_OPTIONS=print_stacktrace=1
# The handler of bus errors allocates: it runs where an instruction of ours read a
# mapped file, not inside a call that a signal interrupted (base/io/mapped_range.cc).
export TSAN_OPTIONS=exitcode=99:halt_on_error=1:second_deadlock_stack=1:report_signal_unsafe=0

# The tests' files never touch a disk: tens of thousands of fsyncs are among them.
files=$(mktemp -d "$([[ -w /dev/shm ]] && echo /dev/shm || echo /tmp)/lextra-sanitize-XXXXXX")
trap 'rm -rf "$files"' EXIT
export TMPDIR=$files
# Flipped bits exercise the same few lines of code.
export LEXTRA_FLIPS=${LEXTRA_FLIPS:-1000}

build_only=0
if [[ ${1:-} == --build_only ]]; then
  build_only=1
  shift
fi
failed=0
passed=0
for preset in ${1:-asan tsan}; do
  build=build-$preset
  mkdir -p "$build"
  { cmake --preset "$preset" && cmake --build "$build"; } >"$build/build.log" 2>&1 ||
    { tail -40 "$build/build.log"; exit 1; }
  if ((build_only)); then
    [[ $preset != asan ]] || cmake --build "$build" --target fuzz_programs >"$build/fuzz.log" 2>&1
    continue
  fi
  log=$build/test.log
  ctest --test-dir "$build" -j2 -V --no-tests=error >"$log" 2>&1 || failed=1
  echo "== $preset"
  grep -E '^ *[0-9]+/[0-9]+ Test' "$log"
  grep -E 'ERROR: |WARNING: ThreadSanitizer|runtime error:|\[  FAILED  \]' "$log" | head -40 || true
  passed=$((passed + $(grep -cE '\[       OK \]' "$log" || true)))
done
if ((build_only)); then exit 0; fi
echo "$passed passed under sanitizers$( ((failed)) && echo "; there were failures" )"
exit "$failed"
