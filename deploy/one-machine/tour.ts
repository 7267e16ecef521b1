/** `make tour`: a kernel and an initramfs whose guest greets on its serial console, for the README's tour. */
import { copyFile, mkdir, mkdtemp, rm } from "node:fs/promises";
import path from "node:path";
import { createCommandRunner } from "@gannet/exec";
import { createLogger } from "@gannet/telemetry";
import { buildInitramfs, findStockKernel } from "@gannet/testing";
import { settingsFrom } from "./settings.ts";

const { stateDir } = settingsFrom(process.env);
const kernel = await findStockKernel();
if ("missing" in kernel) {
  console.error(`No guest can be made: ${kernel.missing}. See deploy/one-machine/install-system-packages.`);
  process.exit(1);
}
const runner = createCommandRunner({ logger: await createLogger({ name: "tour", level: "warn" }) });
const tour = path.join(stateDir, "tour");
await mkdir(tour, { recursive: true, mode: 0o755 });
const folder = await mkdtemp(path.join(tour, "work-"));
try {
  const greeting = "Hello from a guest of Gannet. Type something and press Enter.";
  const archive = await buildInitramfs({ runner, folder, greeting, modules: kernel.modules });
  await copyFile(archive, path.join(tour, "initrd"));
  await copyFile(kernel.path, path.join(tour, "vmlinuz"));
} finally {
  await rm(folder, { recursive: true });
}
console.log(`${tour}/vmlinuz and ${tour}/initrd are there`);
