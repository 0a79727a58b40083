#!/bin/sh
# Makes a Pod by hand in which one ingredient is missing: a random one, or that of the list below which is named behind the command.
set -eu
if [ $# -eq 0 ]; then
  set -- net ipc uts shm volume loopback reaper
  shift $(($(od -An -N1 -t u1 /dev/urandom) % $#))
fi
missing=$1
set -- app side
shift $(($(od -An -N1 -t u1 /dev/urandom) % 2))
odd=$1 # the container that lacks it, but for loopback, which is the sandbox's

minipod rm -f pause app side >/dev/null 2>&1 || true
mkdir -p "$MINIPOD_ROOT/volume" "$MINIPOD_ROOT/other"

# unless INGREDIENT FLAG… keeps the flags, unless that ingredient is the missing one of this container.
unless() {
  ingredient=$1
  shift
  if [ "$ingredient" != "$missing" ] || [ "$name" != "$odd" ]; then flags="$flags $*"; fi
}
# only is the opposite.
only() {
  ingredient=$1
  shift
  if [ "$ingredient" = "$missing" ] && [ "$name" = "$odd" ]; then flags="$flags $*"; fi
}
member() {
  name=$1 number=$2 flags=
  unless net --network container:pause
  only net --network none
  unless ipc --ipc container:pause
  unless uts --uts container:pause
  only shm --without shm
  only reaper --without reaper
  folder=volume
  if [ "$missing" = volume ] && [ "$name" = "$odd" ]; then folder=other; fi
  # shellcheck disable=SC2086 # words
  minipod run -d --name "$name" $flags -v "$MINIPOD_ROOT/$folder:/data" alpine \
    sh -c "(sleep 0.1 &); exec sleep $number" >/dev/null
}

loopback=
[ "$missing" != loopback ] || loopback='--without loopback'
# shellcheck disable=SC2086
minipod run -d --name pause --network none $loopback alpine sleep 1019 >/dev/null
member app 2019
member side 3019
sleep 0.5
echo pause app side
