/** Machines that boot Debian's own systemd become a cluster, as an operator makes one of them. */
import { eventually } from "../../e2e/conditions.ts";
import { type BareMachines, SHARED_FOLDERS } from "../bare-machines.ts";
import { type Counter, parseCounter, readCounterScript } from "../guest/counter.ts";
import type { NodeMachine } from "../node-machine.ts";
import { NODE_BRIDGE, VOLUME_GROUP } from "../plan.ts";
import type { Scenario } from "../scenario.ts";
import { expectEqual } from "./pairs.ts";

const CLUSTER = { name: "cluster.gannet.test", ip: "10.99.0.100" } as const;
const INSTANCE = "web1.gannet.test";
/** An emulated processor beside others: the agent's program alone is compiled for 20 s. */
const PATIENCE_MS = 600_000;
/** A master on such a processor may stand still for longer than the five seconds after which another one leads. */
const LEASE_MS = 40_000;
const UNITS = ["gannet-redis", "gannet-sentinel", "gannet-master", "gannet-node"] as const;
/** As many numbers as show that a guest counts on. */
const PROOF = 5;
/** Where Debian's packages are installed without questions. */
const INSTALL = "DEBIAN_FRONTEND=noninteractive apt-get install --quiet --yes";

const FROM_PACKAGES: Scenario<BareMachines> = {
  name: "systemd: from the packages to a cluster that bears restarts and a power cut",
  nodes: 2,
  async run(lab, step) {
    const [first, second] = await lab.use(2);
    if (first === undefined || second === undefined) throw new Error("the lab has fewer than two machines");
    const machines = [first, second];
    const each = (work: (machine: NodeMachine) => Promise<unknown>) => Promise.all(machines.map(work));

    await step("systemd has started everything", () => each(hasBooted));
    await step("names, a volume group, an OS definition", () => each((machine) => prepare(machine, machines)));
    const packages = (...names: readonly string[]) =>
      names.map((name) => `${SHARED_FOLDERS.packages}/${name}_*.deb`).join(" ");
    await step("apt installs the packages", () =>
      Promise.all([
        run(first, `${INSTALL} ${packages("gannet-master", "gannet-node")}`),
        run(second, `${INSTALL} ${packages("gannet-node")}`),
      ]),
    );
    await step("gnt cluster init", () =>
      run(
        first,
        `gnt cluster init --name ${CLUSTER.name} --master-netdev ${NODE_BRIDGE} --enabled-hypervisors kvm --vg-name ${VOLUME_GROUP}`,
      ),
    );
    await run(first, `sed -i '1s/{/{"leaseMs": ${LEASE_MS},/' /etc/gannet/master.json`);
    await step("systemctl restart gannet-master, which has a longer lease from now on", () =>
      restart(first, "gannet-master"),
    );
    const join = await step("gnt node add", async () => {
      const printed = await run(first, `gnt node add ${second.node.name}`);
      return printed.trim().split("\n").at(-1) ?? "";
    });
    await step("the line that it printed, on the new node", () => run(second, join));
    await step("gnt instance add", () =>
      run(
        first,
        `gnt instance add -t plain --disk 0:size=64m -o counter -n ${first.node.name} -B memory=32 -H kvm:boot_order=disk,vnc_bind_address=,kernel_path= --ignore-ipolicy ${INSTANCE}`,
      ),
    );
    let counted = await step("the guest counts", () => countsOn(first, { boots: 1, count: 0 }));
    expectEqual("the guest's unit", await sliceOf(first), "/gannet.slice/gannet-guests.slice");
    const guest = await guestOf(first);
    for (const unit of UNITS) {
      await step(`systemctl restart ${unit}`, () => restart(first, unit));
      counted = await countsOn(first, counted);
      expectEqual(`the guest's process after the restart of ${unit}`, await guestOf(first), guest);
    }
    await step(`systemctl restart gannet-node on ${second.node.name}`, () => restart(second, "gannet-node"));
    await step("the cluster says that it runs", () => reported(first, "running"));
    await run(first, "gnt cluster watcher pause 1h");

    await step(`${first.node.name} is on again after a power cut`, async () => {
      await first.powerOff();
      await first.powerOn();
      await hasBooted(first);
    });
    await step("the cluster says that the guest is down", () => reported(first, "ERROR_down"));
    await run(first, "gnt cluster watcher continue");
    await step("the watcher has started it, from the disk that it had", () => countsOn(first, { boots: 2, count: 0 }));
    await step("the cluster says that it runs", () => reported(first, "running"));
    await step("gnt instance remove", () => run(first, `gnt instance remove --yes ${INSTANCE}`));
    expectEqual("volumes", await run(first, "lvs --noheadings"), "");
  },
};

export const SYSTEMD_SCENARIOS: readonly Scenario<BareMachines>[] = [FROM_PACKAGES];

async function run(machine: NodeMachine, script: string): Promise<string> {
  return await machine.run(script, PATIENCE_MS);
}

/** @throws Error naming units that failed */
async function hasBooted(machine: NodeMachine): Promise<void> {
  const { output } = await machine.command("systemctl is-system-running --wait", PATIENCE_MS);
  if (output.trim() !== "running")
    throw new Error(`${machine.node.name} is ${output.trim()}: ${await run(machine, "systemctl --failed")}`);
}

/** What an operator has set up before there is a cluster. */
async function prepare(machine: NodeMachine, machines: readonly NodeMachine[]): Promise<void> {
  const hosts = [
    "127.0.0.1 localhost",
    `${CLUSTER.ip} ${CLUSTER.name}`,
    ...machines.map(({ node }) => `${node.ip} ${node.name} ${node.id}`),
  ];
  const volumes = machine.kind.physicalVolumes.join(" ");
  await run(
    machine,
    [
      "set -e",
      `printf '%s\\n' ${hosts.map((line) => `'${line}'`).join(" ")} >/etc/hosts`,
      `vgcreate --quiet --physicalextentsize 1m ${VOLUME_GROUP} ${volumes}`,
      `mkdir -p /srv/ganeti && ln -s ${SHARED_FOLDERS.os} /srv/ganeti/os`,
    ].join("\n"),
  );
}

/** systemd says that it is done, nothing had to be started twice, and the cluster answers again. */
async function restart(machine: NodeMachine, unit: string): Promise<void> {
  await run(machine, `systemctl restart ${unit}`);
  expectEqual(`${unit} started again by itself`, await run(machine, `systemctl show ${unit} -P NRestarts`), "0\n");
  // Whoever asks a master that does not reach Redis yet is told so.
  if (unit !== "gannet-node")
    await eventually("the cluster answers", async () => (await run(machine, "gnt node list")) !== "", {
      timeoutMs: PATIENCE_MS,
    });
}

async function guestOf(machine: NodeMachine): Promise<string> {
  return (await run(machine, `pgrep --full guest=${INSTANCE}`)).trim();
}

/** Control group of the slice in which the guest's scope is. */
async function sliceOf(machine: NodeMachine): Promise<string> {
  const group = (await run(machine, `cat /proc/$(pgrep --full guest=${INSTANCE})/cgroup`)).trim();
  return group.slice("0::".length, group.lastIndexOf("/"));
}

/** The guest has written some more numbers than `since`, in the same run. */
async function countsOn(machine: NodeMachine, since: Counter): Promise<Counter> {
  const volume = (await run(machine, "lvs --noheadings -o lv_path")).trim();
  return await eventually(
    `${INSTANCE} counts on from ${since.count} after boot ${since.boots}`,
    async () => {
      const seen = parseCounter(await run(machine, readCounterScript(volume)));
      if (seen !== undefined && seen.boots > since.boots) throw new Error(`it was booted ${seen.boots} times`);
      return seen?.boots === since.boots && seen.count >= since.count + PROOF ? seen : undefined;
    },
    { timeoutMs: PATIENCE_MS },
  );
}

/** What `gnt instance list` says, once the cluster is able to say it. */
async function reported(machine: NodeMachine, status: string): Promise<void> {
  await eventually(
    `${INSTANCE} is reported as ${status}`,
    async () => (await run(machine, `gnt instance list --no-headers -o status ${INSTANCE}`)).trim() === status,
    { timeoutMs: PATIENCE_MS },
  );
}
