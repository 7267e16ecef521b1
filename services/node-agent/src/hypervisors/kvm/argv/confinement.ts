/** As whom qemu runs once everything is opened, and what it then sees of the node's files. */
import type { LaunchPlan } from "../launch-plan.ts";
import { escaped } from "./argument.ts";

/** Ids rather than a name: qemu then adds no further groups of that user. */
export function confinementArgv({ runAs, chroot, runWith }: LaunchPlan): readonly string[] {
  const user = runAs === null ? undefined : `${runAs.uid}:${runAs.gid}`;
  if (user === undefined && chroot === null) return [];
  if (!runWith) {
    return [...(user === undefined ? [] : ["-runas", user]), ...(chroot === null ? [] : ["-chroot", chroot])];
  }
  const options = [
    ...(user === undefined ? [] : [`user=${user}`]),
    ...(chroot === null ? [] : [`chroot=${escaped(chroot)}`]),
  ];
  return ["-run-with", options.join(",")];
}
