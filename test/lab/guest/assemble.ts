/** Guests that are a few hundred bytes of machine code. */
import path from "node:path";
import type { CommandRunner } from "@gannet/exec";

/** @param source - a file beside this one */
export async function assemble(source: string, target: string, runner: CommandRunner): Promise<void> {
  const argv = ["/usr/bin/nasm", "-f", "bin", "-o", target, path.join(import.meta.dirname, source)] as const;
  await runner.run({ argv, timeoutMs: 10_000 });
}
