#!/bin/sh
# An external storage provider whose volumes are files: every one of its scripts is this one, told by its name. The
# volume's UUID is kept beside it, so that no disk gets another's. Its folder holds `volumes`; what is in `faults/NAME`
# is run in the place of script NAME.
set -eu
volumes=$(pwd)/volumes
volume=$volumes/$VOL_NAME
script=$(basename "$0")

{ echo "$script"; env | grep -E '^(VOL|EXTP)_' | sort; } >>calls

if [ -e "faults/$script" ]; then . "faults/$script"; fi

is_ours() { [ -e "$volume" ] && [ "$(cat "$volume.uuid" 2>/dev/null)" = "$VOL_UUID" ]; }
refuse() { echo "$1" >&2; exit 1; }

case $script in
create)
  [ -e "$volume" ] && refuse "volume $VOL_NAME exists"
  echo "$VOL_UUID" >"$volume.uuid"
  truncate -s "${VOL_SIZE}M" "$volume"
  ;;
attach)
  is_ours || refuse "no volume $VOL_NAME"
  touch "$volume.attached"
  echo "$volume"
  [ -n "${EXTP_URI:-}" ] && echo "kvm:$EXTP_URI"
  ;;
grow) is_ours && truncate -s "${VOL_NEW_SIZE}M" "$volume" ;;
remove)
  is_ours || refuse "volume $VOL_NAME is not yours"
  [ ! -e "$volume.attached" ] || refuse "volume $VOL_NAME is attached"
  rm "$volume" "$volume.uuid"
  ;;
snapshot) is_ours && cp "$volume" "$volumes/$VOL_SNAPSHOT_NAME" ;;
detach) rm -f "$volume.attached" ;;
verify | setinfo | open | close) ;;
esac
exit 0
