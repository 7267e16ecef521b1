/** A node with a simulated Xen, for the tests of both its drivers. */
import { mkdir, readdir, writeFile } from "node:fs/promises";
import path from "node:path";
import type { GuestSpec } from "@gannet/driver-contract";
import { createCommandRunner } from "@gannet/exec";
import { HYPERVISOR_DEFAULTS } from "@gannet/objects";
import { installSimulatedTools } from "../../../../../test/simulated-tools/install.ts";
import { withXen } from "../../../../../test/simulated-tools/xen/state.ts";
import type { HypervisorOptions } from "../../../src/hypervisors/index.ts";
import { XenHypervisor } from "../../../src/hypervisors/xen/xen-hypervisor.ts";
import { xenOptions } from "../../../src/hypervisors/xen/xen-options.ts";
import type { XenHypervisorName } from "../../../src/hypervisors/xen/xen-parameters.ts";
import { bareGuest, makeTestNode, type TestNode } from "../node-fixture.ts";

export interface XenNode {
  readonly node: TestNode;
  /** In which the agent records its running commands. */
  readonly commandRecords: string;
  /** Of the simulated tools. */
  readonly folder: string;
  driver(hypervisor: XenHypervisorName): XenHypervisor;
  guest(hypervisor: XenHypervisorName, name: string, hvparams?: GuestSpec["hvparams"]): GuestSpec;
  /** Domains, configurations, links and NIC data. */
  leftovers(): Promise<readonly string[]>;
}

export async function makeXenNode(options: HypervisorOptions = {}): Promise<XenNode> {
  const bare = await makeTestNode({});
  const { stateDir } = bare.parts;
  const folder = path.join(stateDir, "simulated");
  const { binFolder } = await installSimulatedTools({ folder, volumeGroups: [] });
  const xen = {
    ...xenOptions({
      diskLinkFolder: path.join(stateDir, "disks"),
      nicFolder: path.join(stateDir, "nics"),
      siteVifScript: path.join(stateDir, "vif-custom"),
      logFolder: path.join(stateDir, "xen-logs"),
    }),
    toolstackPaths: { xl: path.join(binFolder, "xl"), xm: path.join(binFolder, "xm") },
  };
  const commandRecords = path.join(stateDir, "commands");
  await mkdir(commandRecords);
  const runner = createCommandRunner({ logger: bare.parts.logger, recordFolder: commandRecords });
  const node: TestNode = { ...bare, parts: { ...bare.parts, runner, options: { xen, ...options } } };
  const kernel = path.join(folder, "vmlinuz");
  const password = path.join(folder, "vnc-password");
  await writeFile(kernel, "");
  await writeFile(password, "secret12\n", { mode: 0o600 });
  const params: Record<XenHypervisorName, GuestSpec["hvparams"]> = {
    "xen-pvm": { ...HYPERVISOR_DEFAULTS["xen-pvm"], kernel_path: kernel },
    "xen-hvm": { ...HYPERVISOR_DEFAULTS["xen-hvm"], vnc_password_file: password },
  };
  return {
    node,
    commandRecords,
    folder,
    driver: (hypervisor) => new XenHypervisor(hypervisor, node.parts),
    guest: (hypervisor, name, hvparams = {}) => bareGuest(name, hypervisor, { ...params[hypervisor], ...hvparams }),
    leftovers: async () => [
      ...(await withXen(folder, ({ domains }) => domains.map(({ name }) => `domain ${name}`))),
      ...(await filesBelow(path.join(stateDir, "xen-hypervisor"))),
      ...(await filesBelow(xen.diskLinkFolder)),
      ...(await filesBelow(xen.nicFolder)),
    ],
  };
}

async function filesBelow(folder: string): Promise<readonly string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  return entries.filter((entry) => !entry.isDirectory()).map((entry) => path.join(entry.parentPath, entry.name));
}
