#!/usr/bin/env bash
# Builds everything and runs every test, then the unit tests of all code that reads
# files under sanitizers, and each parser's fuzz target for 30 s. The last line
# counts tests; those that can't run here (no GPU, no ../shared) are listed as
# skipped, with the reason.
#
#   deploy/test.sh [ctest arguments, for instance -L unit: then these tests alone]
set -euo pipefail
cd "$(dirname "$0")/.."

deploy/setup.sh --tests

echo "== format"
git ls-files '*.h' '*.cc' '*.cu' | xargs clang-format --dry-run --Werror

echo "== build"
deploy/build.sh

echo "== test"
log=build/test.log
status=0
# Ranks wait for each other and some tests sleep: what they leave of the cores builds
# the sanitized tests, at the lowest priority.
sanitized=
if (($# == 0)); then
  nice -n 19 deploy/checks/sanitize.sh --build_only &
  sanitized=$!
fi
# Twice the number of cores: ranks and their launchers wait for each other half of
# the time, and some tests mostly wait.
ctest --test-dir build -j$((2 * $(nproc))) --no-tests=error "$@" -V >"$log" 2>&1 || status=$?
# Only ctest's own lines; the output of the tests is in the log.
grep -E '^ *[0-9]+/[0-9]+ Test|^Total Test time|tests passed' "$log" || true
if ((status)); then
  echo "== failures (full output in $log)"
  grep -E -A12 'Failure$|Timeout|\*\*\*Exception' "$log" | cut -c1-400 | head -200 || true
fi
skipped=$(grep -cE '\[  SKIPPED \] [^ ]+ \([0-9]+ ms\)' "$log" || true)
passed=$(grep -cE '\[       OK \]' "$log" || true)
failed=$(grep -cE '\[  FAILED  \] [^ ]+ \([0-9]+ ms\)' "$log" || true)
if ((skipped)); then
  echo "== skipped"
  grep -A1 -E ': Skipped$' "$log" | grep -vE ': Skipped$|^--' | sort | uniq -c || true
fi
if [[ $sanitized ]]; then
  wait "$sanitized" || true # its errors come again below
  echo "== sanitizers"
  deploy/checks/sanitize.sh || status=1
  echo "== fuzzing"
  deploy/checks/fuzz.sh --seconds="${LEXTRA_FUZZ_SECONDS:-30}" || status=1
fi
if ((status != 0 && failed == 0)); then failed=1; fi
echo "$passed passed, $failed failed, $skipped skipped"
exit "$status"
