/** What concerns the cluster as a whole and is no operation of it. */
import path from "node:path";
import { SYSTEM_LAYOUT } from "@gannet/objects";
import type { CommandSpec } from "../command.ts";
import { handOver } from "../hand-over.ts";

/** What only root can do on a master's machine, by another program there. */
const OF_ADMIN: Readonly<Record<string, string>> = {
  init: "Make a cluster whose first master is this machine.",
  backup: "Write the cluster's configuration, jobs and keys to an encrypted file.",
  restore: "Make the cluster again from such a file.",
  "import-ganeti": "Take over the configuration of a Ganeti cluster.",
};

const handedOver = Object.entries(OF_ADMIN).map(
  ([verb, doc]): CommandSpec => ({
    words: ["cluster", verb],
    doc: `${doc} As root on the master's machine (gannet-admin ${verb}).`,
    passThrough: true,
    shape: () => ({ args: [{ name: "args", doc: "For gannet-admin.", required: false, variadic: true }], options: [] }),
    run: async ({ env }, [args = []]) =>
      handOver(path.join(SYSTEM_LAYOUT.systemCommandDir, "gannet-admin"), [verb, ...args], env),
  }),
);

const getMaster: CommandSpec = {
  words: ["cluster", "getmaster"],
  doc: "Print the name of the master node.",
  shape: () => ({ args: [], options: [] }),
  run: async ({ client, terminal }) => {
    terminal.out((await (await client()).get("/2/info")).master ?? "-");
    return 0;
  },
};

const version: CommandSpec = {
  words: ["cluster", "version"],
  doc: "Print the versions of the cluster's software and of its interfaces.",
  shape: () => ({ args: [], options: [] }),
  run: async ({ client, terminal }) => {
    const info = await (await client()).get("/2/info");
    terminal.out(`Software version: ${info.software_version}`);
    terminal.out(`Configuration format: ${info.config_version}`);
    terminal.out(`OS API version: ${info.os_api_version}`);
    terminal.out(`Export interface: ${info.export_version}`);
    return 0;
  },
};

export const CLUSTER_COMMANDS: readonly CommandSpec[] = [...handedOver, getMaster, version];
