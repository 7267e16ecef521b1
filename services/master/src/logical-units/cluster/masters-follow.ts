/** A change of the cluster's authority goes on when every master's machine, its Redis and its Sentinel too, has come as far. */
import { setTimeout as delay } from "node:timers/promises";
import { OpExecError } from "@gannet/errors";
import type { ExecContext } from "../../executor/context.ts";
import type { NodeCertificates } from "../../membership/node-certificates.ts";
import type { CertificatesInUse } from "../../membership/own-servers.ts";

/** Sentinels are restarted one after another. */
const PATIENCE_MS = 120_000;
const LOOK_MS = 250;

/**
 * Wait until all masters have come so far, less those whose node is marked offline, or is none of the cluster's any more.
 * @throws OpExecError naming those that have not
 */
export async function mastersFollow(
  ctx: ExecContext,
  { masters }: NodeCertificates,
  hasCome: (inUse: CertificatesInUse) => boolean,
): Promise<void> {
  if (masters === undefined) return;
  const deadline = performance.now() + PATIENCE_MS;
  for (;;) {
    const missing = (await masters()).filter(({ name, health, certificates }) => {
      const node = ctx.config.findNode(name);
      if (node === undefined || node.offline) return false;
      return health === "silent" || certificates === undefined || !hasCome(certificates);
    });
    if (missing.length === 0) return;
    if (performance.now() > deadline)
      throw new OpExecError(
        `The masters on ${missing.map(({ name }) => name).join(", ")} do not follow: look at their logs. ` +
          "Everything works as before; run this again when they do, or after marking their nodes offline",
      );
    await delay(LOOK_MS, undefined, { signal: ctx.signal });
  }
}
