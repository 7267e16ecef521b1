/** Creates and removes one disk for ever, for a test that kills it at any moment: `node … <root> <device as JSON>`. */
import type { BlockDeviceSpec } from "@gannet/driver-contract";
import { createCommandRunner } from "@gannet/exec";
import { silentLogger } from "@gannet/telemetry";
import { createFileDriver } from "../../src/block-devices/file/file-driver.ts";

const [root = "", json = ""] = process.argv.slice(2);
const device: BlockDeviceSpec = JSON.parse(json);
const logger = silentLogger();
const runner = createCommandRunner({ logger });
const driver = createFileDriver({
  template: "file",
  allowed: { roots: [root] },
  runner,
  logger,
  spaces: { read: async () => undefined },
});
const { signal } = new AbortController();

for (let round = 0; ; round += 1) {
  await driver.create(device, signal);
  if (round === 0) process.stdout.write("churning\n");
  await driver.remove(device, signal);
}
