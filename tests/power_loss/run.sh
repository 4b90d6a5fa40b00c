#!/usr/bin/env bash
# Cuts the power while checkpoints are being saved, and looks at what is left.
# README.md tells how. Needs root, FUSE and loop devices; where they are missing
# it says so in one line and exits with 77.
#
#   tests/power_loss/run.sh [--cuts=100] [--mode=full|no_sync|no_folder_sync|no_file_sync]
#       [--filesystem=ext4|xfs|btrfs] [--seed=N] [--cuts_per_run=25]
#       [--sector_bytes=4096|512] [--table=FILE] [--build=build]
#
#   --mode          full: the program as it is; nothing may be lost or damaged.
#                   no_sync: its fsyncs do nothing; more than 90 % of the cuts
#                   must fail, or this rig sees nothing.
#                   no_folder_sync, no_file_sync: those of folders (files) do
#                   nothing; some cut must fail.
#   --cuts_per_run  cuts taken of one file system and saver before new ones start
#   --table         a line for every cut
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

cuts=100 mode=full filesystem=ext4 seed=$((RANDOM * 32768 + RANDOM)) cuts_per_run=25
sector_bytes=4096 table=/dev/null build=$here/../../build
for argument in "$@"; do
  case $argument in
    --cuts=*) cuts=${argument#*=} ;;
    --mode=*) mode=${argument#*=} ;;
    --filesystem=*) filesystem=${argument#*=} ;;
    --seed=*) seed=${argument#*=} ;;
    --cuts_per_run=*) cuts_per_run=${argument#*=} ;;
    --sector_bytes=*) sector_bytes=${argument#*=} ;;
    --table=*) table=${argument#*=} ;;
    --build=*) build=${argument#*=} ;;
    *) echo "run.sh: unknown argument $argument" >&2; exit 2 ;;
  esac
done
programs=$(realpath -m "$build")/tests/power_loss table=$(realpath -m "$table")

preload=()
case $mode in
  full) ;;
  no_sync) preload=(LD_PRELOAD="$programs/liblextra_no_fsync.so" LEXTRA_NO_FSYNC=all) ;;
  no_folder_sync) preload=(LD_PRELOAD="$programs/liblextra_no_fsync.so" LEXTRA_NO_FSYNC=folders) ;;
  no_file_sync) preload=(LD_PRELOAD="$programs/liblextra_no_fsync.so" LEXTRA_NO_FSYNC=files) ;;
  *) echo "run.sh: unknown mode $mode" >&2; exit 2 ;;
esac
mount_options=loop
case $filesystem in
  ext4) image_mib=64 make=(mkfs.ext4 -q -F -b 4096 -E "nodiscard,lazy_itable_init=0,lazy_journal_init=0") ;;
  xfs) image_mib=320 make=(mkfs.xfs -q -f -K -s size=4096) mount_options=loop,nouuid ;;
  btrfs) image_mib=128 make=(mkfs.btrfs -q -f -K --mixed) ;;
  *) echo "run.sh: unknown file system $filesystem" >&2; exit 2 ;;
esac

num_done=0
skip() {
  if ((num_done)); then echo "power loss: FAILED after $num_done cuts: $1"; exit 1; fi
  echo "power loss: skipped: $1"
  exit 77
}
# Everything happens in mount and process namespaces of our own: when this
# script ends, however it ends, the kernel kills what it started, unmounts what
# it mounted and frees the loop devices.
isolate=(unshare --mount --pid --fork --kill-child --mount-proc)
if [[ ${LEXTRA_POWER_LOSS_ISOLATED:-} != 1 ]]; then
  (($(id -u) == 0)) || skip "needs root"
  [[ -x $programs/flushed_image ]] || skip "built without libfuse3 (Debian: libfuse3-dev)"
  [[ -r /dev/fuse ]] || skip "no /dev/fuse"
  [[ -r /dev/loop-control ]] || skip "no /dev/loop-control"
  command -v "${make[0]}" >/dev/null || skip "no ${make[0]}"
  "${isolate[@]}" true 2>/dev/null || skip "no namespaces (unshare)"
  LEXTRA_POWER_LOSS_ISOLATED=1 "${isolate[@]}" "$0" "$@" --seed="$seed" &
  isolated=$!
  trap 'kill -KILL "$isolated"; exit 130' INT TERM  # unshare hears neither
  wait "$isolated"
  exit
fi

# What is in this folder is seen by this script's processes alone.
mkdir -p "$programs/work"
mount -t tmpfs -o mode=0700 tmpfs "$programs/work" 2>/dev/null || skip "can't mount a tmpfs"
cd "$programs/work"
mkdir server disk after
saver='' server_is_up=''

start_disk() {
  truncate -s "${image_mib}M" empty
  "${make[@]}" empty >mkfs.log 2>&1 || skip "${make[0]} failed: $(tail -1 mkfs.log)"
  coproc server { exec "$programs/flushed_image" server empty "$sector_bytes"; }
  local answer
  read -r -u "${server[0]}" answer || skip "FUSE can't mount"
  server_is_up=1
  rm empty
  mount -t "$filesystem" -o loop server/image disk 2>mount.log ||
    skip "can't mount $filesystem: $(head -1 mount.log)"
}

start_saver() {
  : >journal
  env "${preload[@]}" "$programs/acknowledging_saver" disk journal &
  saver=$!
  for ((i = 0; i < 500; ++i)); do
    if [[ -s journal ]]; then return; fi
    sleep 0.02
  done
  echo "power loss: no checkpoint was saved in 10 s" >&2
  exit 1
}

stop() {
  if [[ $saver ]]; then
    kill -KILL "$saver" 2>/dev/null || true
    wait "$saver" 2>/dev/null || true
    saver=''
  fi
  if mountpoint -q after; then umount after || true; fi
  if mountpoint -q disk; then umount disk || true; fi
  if mountpoint -q server; then umount server || true; fi
  if [[ $server_is_up ]]; then
    # Both are unset where the server has died.
    local server_pid=${server_PID:-} input=${server[1]:-}
    if [[ $input ]]; then exec {input}>&-; fi
    wait "$server_pid" 2>/dev/null || true
    server_is_up=''
  fi
}
trap stop EXIT

# One cut at a random moment. Its row is: run, seed, unflushed sectors, flushes so
# far, newest acknowledged step, lost, corrupt, 1 if saving can't resume, 1 if it
# can't be mounted.
cut_once() { # seed
  local answer word journal_bytes unflushed flushes newest lost corrupt stuck
  # Half of the cuts are uniform in time, most of them between saves; half are
  # uniform over the writes of a save or two.
  sleep "$(printf '0.%03d' $((RANDOM % 150)))"
  local num_writes=$((RANDOM % 2 ? 1 + RANDOM % 60 : 0))
  kill -0 "$saver" 2>/dev/null || { echo "power loss: the saver has ended" >&2; return 1; }
  echo "cut $1 image journal $num_writes" >&"${server[1]}"
  read -r -u "${server[0]}" answer
  read -r word journal_bytes unflushed flushes <<<"$answer"
  [[ $word == cut ]] || { echo "power loss: flushed_image: $answer" >&2; return 1; }
  if mount -t "$filesystem" -o "$mount_options" image after 2>why; then
    "$programs/recovery_checker" after journal "$journal_bytes" >found 2>why || true
    umount after
    read -r newest lost corrupt stuck <found || { echo "power loss: recovery_checker: $(<why)" >&2; return 1; }
    row="$run $1 $unflushed $flushes $newest $lost $corrupt $stuck 0"
  else
    newest=$(head -c "$journal_bytes" journal | awk '$1 == "step" { n = $2 } END { print n + 0 }')
    row="$run $1 $unflushed $flushes $newest 0 0 0 1"
  fi
  rm image
}

# Columns of a summary over the rows of a file.
summarize() { # name file milliseconds
  sort -n -k3,3 "$2" | awk -v name="$1" -v seconds="$3e-3" '
    { unflushed[NR] = $3; quiet += $3 == 0
      if ($4 > flushes_of[$1]) flushes_of[$1] = $4
      if ($5 > saves_of[$1]) saves_of[$1] = $5
      lost += $6 > 0; corrupt += $7 > 0; stuck += $8; unmountable += $9
      failed += $6 + $7 + $8 + $9 > 0 }
    END { for (run in saves_of) { saves += saves_of[run]; flushes += flushes_of[run] }
          printf "%-5s %5d %6d %8d %10d %6d %6d %8d %6d %12d %7d %8.1f\n", name, NR, saves, flushes,
          unflushed[int((NR + 1) / 2)], quiet, lost, corrupt, stuck, unmountable, failed, seconds }'
}

RANDOM=$((seed % 32768))
echo "power loss: mode $mode, $filesystem, sectors of $sector_bytes bytes, seed $seed"
printf '%-5s %5s %6s %8s %10s %6s %6s %8s %6s %12s %7s %8s\n' run cuts saves flushes unflushed \
  quiet lost corrupt stuck unmountable failed seconds
echo "# run seed unflushed flushes newest_acknowledged lost corrupt stuck unmountable" >"$table"
: >all_rows
num_explained=0
# No change of the date moves it.
uptime_ms() {
  local up
  read -r up _ </proc/uptime
  echo $((10#${up/./} * 10))
}
began_all=$(uptime_ms)
for ((run = 1; num_done < cuts; ++run)); do
  begin=$(uptime_ms)
  : >rows
  start_disk
  start_saver
  for ((i = 0; i < cuts_per_run && num_done < cuts; ++i, ++num_done)); do
    cut_once $((seed + num_done))
    echo "$row" | tee -a rows all_rows >>"$table"
    if [[ $mode == full && -s why ]] && ((num_explained++ < 10)); then
      sed "s/^/  cut with seed $((seed + num_done)): /" why
    fi
  done
  stop
  summarize "$run" rows $(($(uptime_ms) - begin))
done
summarize all all_rows $(($(uptime_ms) - began_all))

failed=$(awk '$6 + $7 + $8 + $9 > 0' all_rows | wc -l)
case $mode in
  full) good=$((failed == 0)) expected="no cut may fail" ;;
  no_sync) good=$((failed * 10 > cuts * 9)) expected="more than 90 % must" ;;
  no_folder_sync | no_file_sync) good=$((failed > 0)) expected="at least one must" ;;
esac
if ((good)); then verdict=passed; else verdict=FAILED; fi
echo "power loss: $verdict: $failed of $cuts cuts failed, where $expected"
((good))
