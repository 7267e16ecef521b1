/** `gannet-admin init`: the first machine of a new cluster. */
import { OpPrereqError } from "@gannet/errors";
import { createCommandRunner } from "@gannet/exec";
import { SYSTEM_LAYOUT } from "@gannet/objects";
import { createLogger } from "@gannet/telemetry";
import { Command } from "commander";
import { type ClusterPlan, clusterPlan, type InitOptions, STANDARD_OPTIONS } from "./cluster-plan.ts";
import { initCluster } from "./init-cluster.ts";
import { MachinePlaces } from "./machine-places.ts";
import { systemServices } from "./machine-services.ts";

const USABLE_WITHIN_MS = 120_000;

export const init = new Command("init")
  .description("Make a cluster whose first node and master is this machine")
  .requiredOption("--name <name>", "the cluster's host name")
  .option(
    "--master-ip <address>",
    "the address that goes where the master is; what the cluster's name resolves to by default",
  )
  .option("--master-netmask <bits>", "its netmask; by default it is that address alone")
  .option("--master-netdev <interface>", "that carries it; the one with the node's address by default")
  .option(
    "--enabled-hypervisors <list>",
    "the first is the default of new instances",
    STANDARD_OPTIONS.enabledHypervisors,
  )
  .option("--enabled-disk-templates <list>", "file,diskless by default; with a volume group plain,drbd,file,diskless")
  .option("--vg-name <group>", "the volume group of all nodes, for templates plain and drbd")
  .option("--nic-parameters <settings>", "of new NICs", STANDARD_OPTIONS.nicParameters)
  .option("--node-name <name>", "this machine's name in the cluster; its host name, with its domain, by default")
  .option("--node-address <address>", "of this machine; what its name resolves to by default")
  .option("--secondary-address <address>", "of this machine, for the replication of disks")
  .option("--file-storage-dir <folder>", "for disks of template file", STANDARD_OPTIONS.fileStorageDir)
  .option("--rapi-port <port>", "of the remote API", STANDARD_OPTIONS.rapiPort)
  .option("--agent-port <port>", "of this node's agent", STANDARD_OPTIONS.agentPort)
  .option("--redis-port <port>", "of this machine's Redis", STANDARD_OPTIONS.redisPort)
  .option("--sentinel-port <port>", "of this machine's Sentinel", STANDARD_OPTIONS.sentinelPort)
  .option("--root <dir>", "prefix of the system's layout; the daemons are not started then", "/")
  .action(runInit);

async function runInit(options: InitOptions & { readonly root: string }): Promise<void> {
  const places = new MachinePlaces(options.root);
  if (places.isWholeMachine && process.geteuid?.() !== 0)
    throw new OpPrereqError("A cluster is made as root", "environment_error");
  const runner = createCommandRunner({ logger: await createLogger({ name: "init", level: "warn", format: "pretty" }) });
  const plan = await clusterPlan(options, runner);
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const)
    process.once(signal, () =>
      stop.abort(new OpPrereqError("Stopped; this machine is as it was before", "environment_error")),
    );
  const services = places.isWholeMachine ? systemServices(runner) : undefined;
  await initCluster(plan, {
    places,
    services,
    usableWithinMs: USABLE_WITHIN_MS,
    signal: stop.signal,
    tell: (text) => console.log(text),
  });
  console.log(nextSteps(plan, places, services !== undefined).join("\n"));
}

function nextSteps(plan: ClusterPlan, places: MachinePlaces, isRunning: boolean): readonly string[] {
  const at = (file: string) => places.at(file);
  const program = (name: string, configuration: string) =>
    `  ${SYSTEM_LAYOUT.programDir}/node ${SYSTEM_LAYOUT.programDir}/${name}.mjs --config ${at(configuration)}`;
  return [
    ...(isRunning
      ? [`The cluster ${plan.name} is ready: https://${plan.nodeAddress}:${plan.ports.rapi}`]
      : [
          `The cluster ${plan.name} is made. systemd does not run it here; these are its daemons:`,
          `  /usr/bin/redis-server ${at(SYSTEM_LAYOUT.redisConfigFile)}`,
          `  /usr/bin/redis-server ${at(SYSTEM_LAYOUT.sentinelConfigFile)} --sentinel`,
          program("node-agent", SYSTEM_LAYOUT.nodeConfigFile),
          program("master", SYSTEM_LAYOUT.masterConfigFile),
        ]),
    `Its first user and password: ${at(SYSTEM_LAYOUT.adminCredentialsFile)}. As root on this machine gnt uses them:`,
    "  gnt node list",
    "  gnt node add NAME        prints what to run on the new node",
    "  gnt cluster verify",
    `Keep a copy of ${at(SYSTEM_LAYOUT.caDir)} in a safe place: gannet-admin backup.`,
  ];
}
