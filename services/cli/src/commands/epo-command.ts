/**
 * `gnt cluster epo` (gnt-cluster(8)): in an emergency guests are stopped and machines powered off, and afterwards all is
 * brought back. Made of operations that there are, and of the watcher's pause: it would start the guests again.
 */
import { setTimeout as delay } from "node:timers/promises";
import { OpPrereqError } from "@gannet/errors";
import { InstanceShutdown, InstanceStartup, type JsonSchema, jsonSchemaOf, OobCommand } from "@gannet/opcodes";
import type { CommandSpec, GivenArguments, Workplace } from "../command.ts";
import { confirm } from "../confirmation.ts";
import { EXIT } from "../exit-codes.ts";
import { runJobs } from "../jobs/run-jobs.ts";
import { controlFlag, controlText, YES } from "../options/common-options.ts";
import { derivedOptions } from "../options/derived-options.ts";
import type { Gathered, OptionSpec } from "../options/option-spec.ts";
import { readDuration } from "../options/read-value.ts";

const NAME = "cluster epo";
/** Until `--on` ends it. */
const WATCHER_PAUSE_S = 30 * 24 * 60 * 60;
/** A machine with much memory takes a quarter of an hour to its operating system. */
const DEFAULT_WAIT_S = 30 * 60;
const LOOK_EVERY_MS = 1_000;

export const EPO_COMMAND: CommandSpec = {
  words: NAME.split(" "),
  doc: "Emergency power-off: stop the instances of nodes, and power the nodes off; --on brings all back.",
  shape: () => ({
    args: [{ name: "names", doc: "Nodes; with --groups node groups.", required: false, variadic: true }],
    options: [
      controlFlag("--on", "Power on, wait for the nodes, and start the instances that are marked up.", "on"),
      controlFlag("--groups", "The names are those of node groups.", "groups"),
      controlFlag("--all", "All nodes. The master's keeps its power: it goes on with the work.", "all"),
      ...declared(OobCommand, "power_delay"),
      ...declared(InstanceShutdown, "timeout"),
      controlText("--wait <duration>", "With --on: how long nodes may take; 30m if not said.", "wait"),
      YES,
      { ...YES, flags: "-f, --force" },
    ],
  }),
  run: async (workplace, args, gathered) => {
    const nodes = await nodesMeant(workplace, args, gathered.control);
    await confirm(
      NAME,
      nodes.map(({ name }) => name),
      gathered,
      workplace.terminal,
    );
    return await (gathered.control.on === true ? on : off)(workplace, nodes, gathered);
  },
};

function declared(opcode: typeof OobCommand | typeof InstanceShutdown, param: string): readonly OptionSpec[] {
  const { [param]: schema = {} } = (jsonSchemaOf(opcode).properties ?? {}) as Readonly<Record<string, JsonSchema>>;
  return derivedOptions(NAME, { properties: { [param]: schema }, required: [] }, new Set());
}

interface NodeRow {
  readonly name: string;
  readonly group: string;
  readonly isMaster: boolean;
  /** Null: it has no out-of-band program. */
  readonly powered: boolean | null;
  readonly offline: boolean;
  /** Names of those that run on it or have a copy there. */
  readonly instances: readonly string[];
  readonly answers: boolean;
}

/** Status of a cell whose value is there. */
const NORMAL = 0;

async function allNodes({ client }: Workplace): Promise<readonly NodeRow[]> {
  const fields = ["name", "group", "master", "powered", "offline", "pinst_list", "sinst_list", "bootid"];
  const { data } = await (await client()).put("/2/query/:resource", { resource: "node", body: { fields } });
  return data.map((cells) => {
    const [name, group, master, powered, offline, primary, secondary] = cells.map(([, value]) => value);
    return {
      name: String(name),
      group: String(group),
      isMaster: master === true,
      powered: typeof powered === "boolean" ? powered : null,
      offline: offline === true,
      instances: [...(primary as readonly string[]), ...(secondary as readonly string[])],
      answers: cells.at(-1)?.[0] === NORMAL,
    };
  });
}

/** @throws OpPrereqError wrong_input */
async function nodesMeant(
  workplace: Workplace,
  [given = []]: GivenArguments,
  control: Gathered["control"],
): Promise<readonly NodeRow[]> {
  const names = typeof given === "string" ? [given] : given;
  const isAll = control.all === true;
  if (isAll === names.length > 0 || (isAll && control.groups === true))
    throw new OpPrereqError("Name nodes, or with --groups node groups, or say --all", "wrong_input");
  const nodes = await allNodes(workplace);
  if (isAll) return nodes;
  const field = control.groups === true ? "group" : "name";
  const meant = new Set<NodeRow>();
  for (const name of names) {
    const found = nodes.filter(
      (node) => node[field] === name || (field === "name" && node.name.startsWith(`${name}.`)),
    );
    if (found.length === 0)
      throw new OpPrereqError(`There is no node ${field === "group" ? `in a group ${name}` : name}`, "wrong_input");
    for (const node of found) meant.add(node);
  }
  const master = [...meant].find(({ isMaster }) => isMaster);
  if (master !== undefined && control.on !== true)
    throw new OpPrereqError(
      `${master.name} is the master: have another one lead first (gnt cluster master-failover), or say --all`,
      "wrong_state",
    );
  return [...meant];
}

async function off(workplace: Workplace, nodes: readonly NodeRow[], { params }: Gathered): Promise<number> {
  const { client, terminal } = workplace;
  await (await client()).put("/2/watcher/pause", { body: { duration: WATCHER_PAUSE_S } });
  terminal.note("The watcher is paused; gnt cluster epo --on, or gnt cluster watcher continue, ends that");
  const running = await instancesOf(workplace, nodes, ["=", "oper_state", true]);
  // They stay marked as up, so that --on knows what to start.
  const shutdowns = running.map((name) => ({ instance_name: name, no_remember: true, ...only(params, "timeout") }));
  if (running.length > 0 && (await runJobs(workplace, InstanceShutdown, shutdowns, {})) !== EXIT.done) {
    terminal.note("Not all instances could be stopped: no node is powered off");
    return EXIT.failed;
  }
  const told = nodes.filter(({ powered }) => powered === null);
  for (const { name } of told) terminal.note(`${name} has no out-of-band program: power it off by hand`);
  for (const { name } of nodes.filter(({ isMaster, powered }) => isMaster && powered !== null))
    terminal.note(`${name} is the master and keeps its power: power it off by hand`);
  const names = nodes.filter(({ isMaster, powered }) => powered === true && !isMaster).map(({ name }) => name);
  return await setPower(workplace, names, false, params);
}

async function on(workplace: Workplace, nodes: readonly NodeRow[], { params, control }: Gathered): Promise<number> {
  const { client, terminal } = workplace;
  const names = nodes.filter(({ powered }) => powered === false).map(({ name }) => name);
  const code = await setPower(workplace, names, true, params);
  const waitS = typeof control.wait === "string" ? readDuration(control.wait, "--wait") : DEFAULT_WAIT_S;
  const wanted = nodes.filter(({ name, offline }) => !offline && !(code !== EXIT.done && names.includes(name)));
  const silent = await silentAfter(workplace, wanted, waitS);
  for (const name of silent) terminal.note(`${name} does not answer; its instances are left as they are`);
  const dead = new Set([...silent, ...(await allNodes(workplace)).flatMap((n) => (n.answers ? [] : [n.name]))]);
  const stopped = await instancesOf(workplace, nodes, ["=", "status", "ERROR_down"], dead);
  const startups = stopped.map((name) => ({ instance_name: name }));
  const started = startups.length === 0 ? EXIT.done : await runJobs(workplace, InstanceStartup, startups, {});
  await (await client()).put("/2/watcher/continue");
  return silent.length > 0 ? EXIT.failed : Math.max(code, started);
}

/** Nodes that have not answered until then. */
async function silentAfter(workplace: Workplace, nodes: readonly NodeRow[], waitS: number): Promise<readonly string[]> {
  const deadline = performance.now() + waitS * 1000;
  const names = new Set(nodes.map(({ name }) => name));
  for (let isTold = false; ; isTold = true) {
    const silent = (await allNodes(workplace)).filter(({ name, answers }) => names.has(name) && !answers);
    if (silent.length === 0 || performance.now() >= deadline) return silent.map(({ name }) => name);
    if (!isTold) workplace.terminal.note(`Waiting for ${silent.map(({ name }) => name).join(", ")}`);
    await delay(LOOK_EVERY_MS, undefined, { signal: workplace.signal });
  }
}

/** Of those nodes, the instances that are so, and have no node that is dead. */
async function instancesOf(
  { client }: Workplace,
  nodes: readonly NodeRow[],
  filter: readonly unknown[],
  dead: ReadonlySet<string> = new Set(),
): Promise<readonly string[]> {
  const names = new Set(nodes.flatMap(({ instances }) => instances));
  const { data } = await (await client()).put("/2/query/:resource", {
    resource: "instance",
    body: { fields: ["name", "pnode"], qfilter: [...filter] },
  });
  return data.flatMap((cells) => {
    const [name, primary] = cells.map(([, value]) => String(value));
    return name !== undefined && names.has(name) && !dead.has(primary ?? "") ? [name] : [];
  });
}

/** A program that fails fails no job: what counts is what is noted of the nodes afterwards. */
async function setPower(
  workplace: Workplace,
  names: readonly string[],
  isOn: boolean,
  params: Gathered["params"],
): Promise<number> {
  if (names.length === 0) return EXIT.done;
  const command = isOn ? "power-on" : "power-off";
  const request = { node_names: [...names], command, ignore_status: true, ...only(params, "power_delay") };
  const code = await runJobs(workplace, OobCommand, [request], {});
  const still = (await allNodes(workplace)).filter(({ name, powered }) => names.includes(name) && powered !== isOn);
  for (const { name } of still) workplace.terminal.note(`${name} could not be powered ${isOn ? "on" : "off"}`);
  return still.length > 0 ? EXIT.failed : code;
}

function only(params: Gathered["params"], name: string): Readonly<Record<string, unknown>> {
  return params[name] === undefined ? {} : { [name]: params[name] };
}
