#!/usr/bin/env bash
# Runs a training command unattended: restarts it after a lost rank or host, gives
# up when restarts bring no newer checkpoint or the watchdog ends the command twice
# at the same point, and forwards requests to stop. Exit code: the command's last
# one, 75 after a request to stop that was met. A launcher that outlives all its
# ranks is killed: mpirun has been seen to hang so, about once in a thousand lost
# ranks.
#
#   deploy/supervise.sh --run_dir=DIR [--max_restarts_without_progress=3]
#     [--grace_seconds=20] [--stuck_seconds=30] -- mpirun ... lextra train ...
#
# On USR1, TERM or INT this script sends the command USR1 immediately (mpirun
# forwards it to the ranks, which save and exit with 75), TERM after the grace
# period and KILL 20 seconds later, each only to the process that it started.
set -euo pipefail

readonly kill_seconds=20 longest_pause=30
run_dir="" max_restarts=3 grace_seconds=20 stuck_seconds=30

usage_error() {
  echo "supervise: $1; usage: $0 --run_dir=DIR" \
    "[--max_restarts_without_progress=3] [--grace_seconds=20]" \
    "[--stuck_seconds=30] -- COMMAND..." >&2
  exit 2
}

say() { echo "$(date -u +%Y-%m-%dT%H:%M:%SZ) supervise: $*" >&2; }

# Sets `step` to that of the newest checkpoint by folder name, 0 without one. The
# names of uncommitted saves, bad checkpoints and deleted ones begin with a dot.
find_newest_step() {
  local folder digits
  step=0
  for folder in "$run_dir"/step-*; do
    digits=${folder##*/step-}
    [[ -d $folder && $digits =~ ^[0-9]{1,18}$ ]] || continue
    if ((10#$digits > step)); then step=$((10#$digits)); fi
  done
}

# What an exit code means and what to do (docs/formats.md).
meaning_of() {
  case $1 in
    0) echo "finished" ;;
    1) echo "not an exit code of lextra: lost rank or failed launch" ;;
    2) echo "command line or configuration: fix what the error line names" ;;
    3) echo "input file or data: fix what the error line names" ;;
    4) echo "no usable checkpoint: see lextra checkpoint list $run_dir" ;;
    5) echo "run folder in use by another job: stop that job or wait for it to finish" ;;
    6) echo "lost rank, hang or communication" ;;
    7) echo "numeric failure: see the error line before rerunning" ;;
    8) echo "storage full, read-only or failing: fix it, then rerun" ;;
    75) echo "stopped on request, checkpoint saved: rerun to resume" ;;
    *) if (($1 > 125)); then
      echo "killed, or the launcher failed: lost rank or host"
    else
      echo "not an exit code of lextra: see the command's last lines"
    fi ;;
  esac
}

worth_a_restart() { (($1 == 1 || $1 == 6 || $1 == 75 || $1 > 125)); }

# Sets `hung_at` to where the watchdog ended the last run ("training, step 15"), or
# to nothing. It is taken from the error line in log.txt: what that says of the rank
# it names. Errors of GPUs and NCCL name no point. Lines beyond `log_bytes` are this
# run's.
find_where_it_hung() {
  hung_at=$(tail -c "+$((log_bytes + 1))" "$run_dir/log.txt" 2>/dev/null |
    sed -nE 's/.* error: watchdog: [^[]*\[([a-z-]+(, step [0-9]+)?)[],].*/\1/p') ||
    hung_at=""
  hung_at=${hung_at%%$'\n'*}
}

# Sets `log_bytes` to the length of log.txt.
measure_log() { log_bytes=$(stat -c %s "$run_dir/log.txt" 2>/dev/null) || log_bytes=0; }

# Sets `clock` to hundredths of seconds, unaffected by changes of the date.
read_clock() {
  local uptime
  read -r uptime _ </proc/uptime
  clock=$((10#${uptime/./}))
}

# The trap of a request to stop; the first one counts.
job="" stop_asked="" stop_at=0 signals_sent=0
# shellcheck disable=SC2317  # reached by the traps alone
ask_to_stop() {
  [[ -z $stop_asked ]] || return 0
  stop_asked=$1
  read_clock
  stop_at=$clock
}

# Sends what is due since the request: USR1, then TERM, then KILL.
pass_stop_on() {
  local signals=(USR1 TERM KILL)
  local due=(0 "$grace_seconds" $((grace_seconds + kill_seconds)))
  read_clock
  while ((signals_sent < 3 && clock - stop_at >= 100 * due[signals_sent])); do
    say "$stop_asked received: sending ${signals[signals_sent]} to process $job"
    kill -s "${signals[signals_sent]}" "$job" 2>/dev/null || true
    signals_sent=$((signals_sent + 1))
  done
}

# Whether the command has a live child. True where the system does not tell. Threads
# and children may end meanwhile: then `read` only fails, where $(<file) would end
# this script.
has_children() {
  local list pid stat children
  [[ -e /proc/$job/task/$job/children ]] || return 0
  for list in /proc/"$job"/task/*/children; do
    children=()
    # The line has no newline, so a status of 1 means nothing.
    read -r -a children <"$list" || true
    for pid in ${children[@]+"${children[@]}"}; do
      read -r stat <"/proc/$pid/stat" || continue
      if [[ ${stat##*) } != [ZX]* ]]; then return 0; fi
    done
  done 2>/dev/null
  return 1
}

# Kills a launcher that had children and has had none for stuck_seconds.
had_children="" childless_since=0 looked_at=0
end_if_stuck() {
  read_clock
  if ((clock - looked_at < 100)); then return; fi
  looked_at=$clock
  if has_children; then
    had_children=yes childless_since=$clock
  elif [[ -n $had_children ]] &&
    ((clock - childless_since >= 100 * stuck_seconds)); then
    say "process $job has had no child for $stuck_seconds s and has not exited:" \
      "killing it"
    kill -s KILL "$job" 2>/dev/null || true
    had_children=""
  fi
}

# Ctrl-C ends the sleep too.
rest() { sleep 0.2 || true; }

# Runs the command once and sets `code`. It gets its own process group, so that
# Ctrl-C reaches it only as described above.
run_once() {
  set -m
  "$@" </dev/null &
  job=$!
  set +m
  had_children=""
  while kill -0 "$job" 2>/dev/null; do
    if [[ -n $stop_asked ]]; then pass_stop_on; fi
    end_if_stuck
    rest
  done
  code=0
  wait "$job" || code=$?
}

# Returns early when asked to stop.
pause() {
  read_clock
  local end=$((clock + 100 * $1))
  while [[ -z $stop_asked ]] && ((clock < end)); do
    rest
    read_clock
  done
}

while (($#)); do
  case $1 in
    --run_dir=?*) run_dir=${1#*=} ;;
    --max_restarts_without_progress=*) max_restarts=${1#*=} ;;
    --grace_seconds=*) grace_seconds=${1#*=} ;;
    --stuck_seconds=*) stuck_seconds=${1#*=} ;;
    --) shift && break ;;
    *) usage_error "unexpected argument: $1" ;;
  esac
  shift
done
[[ -n $run_dir ]] || usage_error "--run_dir is missing"
[[ $max_restarts =~ ^[0-9]{1,6}$ && $grace_seconds =~ ^[0-9]{1,6}$ &&
  $stuck_seconds =~ ^[0-9]{1,6}$ ]] ||
  usage_error "restarts and seconds must be non-negative integers"
(($#)) || usage_error "no command after --"
command -v -- "$1" >/dev/null || usage_error "command not found: $1"
max_restarts=$((10#$max_restarts)) grace_seconds=$((10#$grace_seconds))
stuck_seconds=$((10#$stuck_seconds))

trap 'ask_to_stop USR1' USR1
trap 'ask_to_stop TERM' TERM
trap 'ask_to_stop INT' INT

find_newest_step
reached=$step restarts=0 hung_before=""
say "start: newest checkpoint is step $reached: $*"
until ((restarts > max_restarts)); do
  measure_log
  run_once "$@"
  find_newest_step
  say "end: code $code ($(meaning_of "$code")), newest checkpoint is step $step"
  if [[ -n $stop_asked ]] || ! worth_a_restart "$code"; then exit "$code"; fi
  if ((step > reached)); then reached=$step restarts=0 hung_before=""; fi
  find_where_it_hung
  if [[ -n $hung_at && $hung_at == "$hung_before" ]]; then
    say "giving up: the watchdog ended two consecutive runs at the same point" \
      "($hung_at), with no checkpoint after step $reached: a third would end" \
      "there too. $run_dir/log.txt names the rank. If that rank is slow rather" \
      "than stuck, raise parallel.timeout_seconds, or LEXTRA_PATIENCE_SECONDS" \
      "outside of training steps"
    exit "$code"
  fi
  hung_before=$hung_at
  restarts=$((restarts + 1))
  if ((restarts > max_restarts)); then break; fi
  seconds=$((restarts < 6 ? 1 << (restarts - 1) : longest_pause))
  say "restart $restarts of $max_restarts without progress, in $seconds s"
  pause "$seconds"
  if [[ -n $stop_asked ]]; then
    say "$stop_asked received between two runs: rerun to resume"
    exit 75
  fi
done
say "giving up: $max_restarts consecutive restarts brought no checkpoint after" \
  "step $reached; see $run_dir/log.txt, then rerun this command"
exit "$code"
