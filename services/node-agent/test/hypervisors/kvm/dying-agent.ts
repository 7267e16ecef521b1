/**
 * An agent that starts a guest and is killed, run as a process of its own:
 * `dying-agent.ts <stateDir> <guestName> <after-start | during-start>`.
 */
import { createCommandRunner } from "@gannet/exec";
import { HYPERVISOR_DEFAULTS } from "@gannet/objects";
import { silentLogger } from "@gannet/telemetry";
import { KvmHypervisor } from "../../../src/hypervisors/kvm/kvm-hypervisor.ts";
import { bareGuest } from "../node-fixture.ts";

const [stateDir = "", guestName = "", moment] = process.argv.slice(2);
const logger = silentLogger();
const real = createCommandRunner({ logger });

const runner: typeof real = {
  ...real,
  async run(command) {
    const result = await real.run(command);
    if (moment === "during-start" && command.argv.includes("-daemonize")) process.kill(process.pid, "SIGKILL");
    return result;
  },
};
const driver = new KvmHypervisor({ stateDir, runner, logger, options: { kvmAcceleration: "off" } });
await driver.recover();
await driver.start(
  bareGuest(guestName, "kvm", HYPERVISOR_DEFAULTS.kvm),
  { paused: false },
  new AbortController().signal,
);
process.kill(process.pid, "SIGKILL");
