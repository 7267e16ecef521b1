/** Which names LVM's things may have, so that nothing else ever stands in a command (spec/node-ops.json, `storage.lvm`). */

const NAME = /^[a-zA-Z0-9+_.][a-zA-Z0-9+_.-]*$/;
const NAME_LIMIT_CHARS = 127;
/** LVM keeps these for itself, which lvm(8) lists. */
const RESERVED_NAMES = [".", ".."];
const RESERVED_BEGINNINGS = ["snapshot", "pvmove"];
const RESERVED_PARTS = [
  ...[
    "_cdata",
    "_cmeta",
    "_corig",
    "_mimage",
    "_mlog",
    "_pmspare",
    "_rimage",
    "_rmeta",
    "_tdata",
    "_tmeta",
    "_vorigin",
  ],
];

export interface VolumeName {
  readonly volumeGroup: string;
  readonly name: string;
}

/** A volume's name from a logical id of template `plain`; undefined when it is none, or one that LVM would refuse. */
export function volumeNameOf(logicalId: readonly (string | number)[]): VolumeName | undefined {
  const [volumeGroup, name, ...rest] = logicalId;
  if (typeof volumeGroup !== "string" || typeof name !== "string" || rest.length > 0) return undefined;
  return isGroupName(volumeGroup) && isVolumeName(name) ? { volumeGroup, name } : undefined;
}

export function isGroupName(name: string): boolean {
  return NAME.test(name) && name.length <= NAME_LIMIT_CHARS && !RESERVED_NAMES.includes(name);
}

export function isVolumeName(name: string): boolean {
  return (
    isGroupName(name) &&
    !RESERVED_BEGINNINGS.some((beginning) => name.startsWith(beginning)) &&
    !RESERVED_PARTS.some((part) => name.includes(part))
  );
}

/** `xenvg/disk0`, as LVM's commands take it. */
export function fullName({ volumeGroup, name }: VolumeName): string {
  return `${volumeGroup}/${name}`;
}
