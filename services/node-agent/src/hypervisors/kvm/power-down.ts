/** Asking a guest to end. */
import type { Logger } from "@gannet/telemetry";
import type { GuestMonitor } from "./guest-monitor.ts";
import { endsWithin } from "./qemu-process.ts";

/** Guests that are just booting miss a press of the power button, so it is pressed again. */
const REPEAT_MS = 5_000;

/** Resolves when the guest has ended, or the time is over, or the signal is aborted. */
export async function powerDown(
  monitor: GuestMonitor,
  options: { readonly timeoutMs: number; readonly signal: AbortSignal; readonly logger: Logger },
): Promise<void> {
  const { timeoutMs, signal, logger } = options;
  const deadline = performance.now() + timeoutMs;
  for (let leftMs = timeoutMs; leftMs > 0 && !signal.aborted; leftMs = deadline - performance.now()) {
    const waitMs = Math.min(leftMs, REPEAT_MS);
    await monitor.execute({ name: "system_powerdown" }, { timeoutMs: waitMs }).catch((error) => {
      logger.warn({ error }, "a guest could not be asked to shut down");
    });
    if (await endsWithin(monitor.process, Math.min(waitMs, deadline - performance.now()), signal)) return;
  }
}
