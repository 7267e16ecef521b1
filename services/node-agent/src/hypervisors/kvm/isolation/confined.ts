/** Guests whose qemu may not open what the agent may. */
import type { GuestSpec } from "@gannet/driver-contract";

/** It runs as another user than the agent, or in a root folder of its own. */
export function isConfined({ hvparams }: Pick<GuestSpec, "hvparams">): boolean {
  const { security_model: model = "none", use_chroot: hasOwnRoot } = hvparams;
  return model !== "none" || hasOwnRoot === true;
}
