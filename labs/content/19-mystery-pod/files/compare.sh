#!/bin/sh
# Says which ingredient of the Pod is missing, by the same files in /proc that the judge reads: the first one on which two disagree.
set -eu
init() { minipod inspect -f '{{.State.Pid}}' "$1"; }     # PID 1 in there
main() { pgrep -P "$(init "$1")" -x sleep | head -n 1; } # the command, which is its child
pause=$(main pause) app=$(main app) side=$(main side)

for kind in net ipc uts; do
  for one in $app $side; do
    [ "$(readlink "/proc/$one/ns/$kind")" = "$(readlink "/proc/$pause/ns/$kind")" ] || { echo "$kind"; exit; }
  done
done
same() { [ "$(stat -L -c %d:%i "/proc/$1/root$3")" = "$(stat -L -c %d:%i "/proc/$2/root$3")" ]; }
for one in $app $side; do
  same "$one" "$pause" /dev/shm || { echo shm; exit; }
done
same "$app" "$side" /data || { echo volume; exit; }
grep -q 127.0.0.1 "/proc/$pause/net/fib_trie" || { echo loopback; exit; }
for one in app side; do
  case $(ps -o stat= --ppid "$(init $one)") in *Z*) echo reaper; exit ;; esac
done
echo nothing
