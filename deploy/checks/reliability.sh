#!/usr/bin/env bash
# The long runs of the reliability tests; the latest figures are in
# docs/results/reliability.md. Each part prints what it counted; the exit status is
# nonzero if any failed. All of it takes hours on two cores.
#
#   deploy/checks/reliability.sh [--scale=PERCENT] [PART ...]
#
#   PART   kills   ranks killed at random moments and at every point of a save
#          deaths  every kind of death of a rank, and stopped ranks
#          slow    work of 400 s without a collective, under the default limits
#          stops   SIGUSR1 to mpirun
#          races   two jobs on one folder
#          flips   flipped bits and truncations of a checkpoint
#          power   power cuts under a file system (needs root)
#          fuzz    every parser
set -euo pipefail
cd "$(dirname "$0")/../.."

scale=100
parts=()
for argument in "$@"; do
  case $argument in
    --scale=*) scale=${argument#*=} ;;
    -*) echo "reliability: unknown flag $argument" >&2; exit 2 ;;
    *) parts+=("$argument") ;;
  esac
done
((${#parts[@]})) || parts=(kills deaths slow stops races flips power fuzz)

export LEXTRA_SOURCE_DIR=$PWD LEXTRA_BUILD_DIR=$PWD/build
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
# Unaffected by changes of the date.
uptime_seconds() { cut -d. -f1 /proc/uptime; }
count() { echo $(($1 * scale / 100)); }

# test_program PROGRAM FILTER: prints its counts and its result.
test_program() {
  local log status=0
  log=$(mktemp)
  "build/tests/$1" --gtest_filter="$2" >"$log" 2>&1 || status=$?
  grep -vE '^\[|^Note|^$|^Running' "$log" | tail -20 || true
  grep -E '^\[  (PASSED|FAILED)' "$log" || true
  if ((status)); then cp "$log" "build/reliability-failure.log"; fi
  rm -f "$log"
  return $status
}

failed=0
for part in "${parts[@]}"; do
  echo "== $part"
  start=$(uptime_seconds)
  case $part in
    kills) LEXTRA_RANDOM_KILLS=$(count 1000) \
      test_program end_to_end/end_to_end_kill_test '*' || failed=1
      LEXTRA_EVALUATION_KILLS=$(count 100) \
        test_program end_to_end/end_to_end_evaluation_kill_test '*' || failed=1 ;;
    deaths) LEXTRA_DEATHS_PER_KIND=$(count 50) \
      test_program end_to_end/end_to_end_rank_death_test '*' || failed=1 ;;
    slow) LEXTRA_FULL_LENGTH=1 \
      test_program end_to_end/end_to_end_slow_work_test '*' || failed=1 ;;
    stops) LEXTRA_STOPS=$(count 20) \
      test_program end_to_end/end_to_end_stop_test '*' || failed=1 ;;
    races) LEXTRA_RACES=$(count 50) \
      test_program end_to_end/end_to_end_recovery_test '*OfTwoJobs*' || failed=1 ;;
    flips) LEXTRA_FLIPS=$(count 100000) \
      test_program checkpoint/checkpoint_faults_test '*Damage*' || failed=1 ;;
    power) tests/power_loss/run.sh --cuts="$(count 300)" --mode=full || failed=1
      tests/power_loss/run.sh --cuts="$(count 40)" --mode=no_sync || failed=1 ;;
    fuzz) deploy/checks/fuzz.sh --runs="$(count 1000000)" || failed=1 ;;
    *) echo "reliability: unknown part $part" >&2; exit 2 ;;
  esac
  echo "== $part took $(($(uptime_seconds) - start)) s"
done
exit "$failed"
