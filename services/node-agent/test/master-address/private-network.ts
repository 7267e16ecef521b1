/** A network namespace of its own, whose `ip` is the system's: addresses there are nobody else's business. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, writeFile } from "node:fs/promises";
import path from "node:path";
import { vi } from "vitest";
import { runner } from "../agent-fixture.ts";

export interface PrivateNetwork extends Disposable {
  /** A program that is called as `ip`. */
  readonly ip: string;
  /** `127.0.0.1/8 lo` and the like. */
  addresses(): Promise<readonly string[]>;
  run(...args: readonly string[]): Promise<string>;
}

const TIMEOUT_MS = 10_000;

export async function privateNetwork(folder: string): Promise<PrivateNetwork> {
  const holder = spawn("/usr/bin/unshare", ["--user", "--map-root-user", "--net", "/bin/sleep", "600"]);
  await once(holder, "spawn");
  const ip = path.join(folder, "ip");
  const inside = ["/usr/bin/nsenter", "-t", String(holder.pid), "-U", "-n", "--preserve-credentials"];
  await writeFile(ip, `#!/bin/sh\nexec ${inside.join(" ")} /sbin/ip "$@"\n`);
  await chmod(ip, 0o755);
  const run = async (...args: readonly string[]) =>
    (await runner.run({ argv: [ip, ...args], timeoutMs: TIMEOUT_MS })).stdout;
  // Until the namespace is there, it is the machine's own that would be entered, which has a loopback that is up.
  await vi.waitFor(async () => {
    if (!(await run("link", "show", "lo")).includes("state DOWN")) throw new Error("not there yet");
  });
  await run("link", "set", "lo", "up");
  return {
    ip,
    run,
    addresses: async () =>
      (await run("-o", "address", "show"))
        .trim()
        .split("\n")
        .map((line) => line.split(/\s+/))
        .map(([, netdev, , address]) => `${address} ${netdev}`),
    [Symbol.dispose]: () => void holder.kill("SIGKILL"),
  };
}
