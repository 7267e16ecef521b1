/** Simulated `xl`, and `xm` by its other name: domains that are kept in a file. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { runWithFaults } from "../faults.ts";
import { parseDomainConfig } from "./domain-config.ts";
import { migrate, receive } from "./migration.ts";
import { boot, FLAGS, freeMib, MACHINE_MIB, NODE_MIB, type SimulatedDomain, withXen, type XenState } from "./state.ts";
import { domainNamed, readCall, type XlCommand, XlFailure } from "./tool.ts";

const NODE_UUID = "00000000-0000-0000-0000-000000000000";

const list: XlCommand = ({ nodeFolder, flags, names: [asked] }) =>
  withXen(nodeFolder, (state) => {
    const only = asked === undefined ? undefined : domainNamed(state, asked);
    const verbose = flags.has("v");
    const head = `${"Name".padEnd(40)}    ID   Mem VCPUs\tState\tTime(s)`;
    const node = { name: "Domain-0", id: 0, memoryMib: NODE_MIB, vcpus: 1, flags: "r-----", uuid: NODE_UUID };
    const rows = (only === undefined ? [node, ...state.domains] : [only]).map(
      ({ name, id, memoryMib, vcpus, flags: shown, uuid }) => {
        const row = [name.padEnd(40), String(id).padStart(5), String(memoryMib).padStart(5), String(vcpus).padStart(5)];
        const reason = shown[3] === "s" ? "0" : "-";
        const more = verbose ? ` ${uuid} ${reason.padStart(8)} ${"-".padStart(16)}` : "";
        return `${row.join(" ")}     ${shown}  ${"0.1".padStart(8)}${more}`;
      },
    );
    const wider = verbose ? "   UUID                            Reason-Code\tSecurity Label" : "";
    return { exitCode: 0, stdout: [`${head}${wider}`, ...rows, ""].join("\n") };
  });

const info: XlCommand = ({ nodeFolder }) =>
  withXen(nodeFolder, (state) => {
    const fields = {
      host: "simulated",
      nr_cpus: 8,
      nr_nodes: 2,
      cores_per_socket: 2,
      threads_per_core: 2,
      total_memory: MACHINE_MIB,
      free_memory: freeMib(state),
      xen_major: 4,
      xen_minor: 17,
      xen_extra: ".7",
      xen_caps: "xen-3.0-x86_64 hvm-3.0-x86_64 ",
    };
    const lines = Object.entries(fields).map(([key, value]) => `${key.padEnd(23)}: ${value}\n`);
    return { exitCode: 0, stdout: lines.join("") };
  });

/** A domain has its number before it is found that it cannot be made. Answers what is complained of, if anything. */
function refused(
  state: XenState,
  { name, memoryMib }: Pick<SimulatedDomain, "name" | "memoryMib">,
): string | undefined {
  const isTaken = state.domains.some((each) => each.name === name);
  if (!isTaken && memoryMib <= freeMib(state)) return undefined;
  const id = state.nextId++;
  const why = isTaken
    ? [
        `libxl_domain.c:81:libxl__domain_rename: Domain ${id}:Domain with name "${name}" already exists.`,
        `libxl_create.c:1296:initiate_domain_create: Domain ${id}:cannot make domain: -6`,
      ]
    : [
        "libxl_dom.c:586:libxl__build_dom: xc_dom_boot_mem_init failed: Cannot allocate memory",
        `libxl_create.c:1640:domcreate_rebuild_done: Domain ${id}:cannot (re-)build domain: -3`,
      ];
  const after = [
    `libxl_domain.c:1183:libxl__destroy_domid: Domain ${id}:Non-existant domain`,
    `libxl_domain.c:1137:domain_destroy_callback: Domain ${id}:Unable to destroy guest`,
    `libxl_domain.c:1064:domain_destroy_cb: Domain ${id}:Destruction of domain failed`,
  ];
  return [...why, ...after].map((line) => `libxl: error: ${line}`).join("\n");
}

const create: XlCommand = ({ nodeFolder, flags, names: [file = ""] }) => {
  const config = readConfig(file);
  const { name, uuid, memoryMib, maxMemoryMib, vcpus } = parseDomainConfig(config, file);
  const head = `Parsing config from ${file}\n`;
  return withXen(nodeFolder, (state) => {
    const problem = refused(state, { name, memoryMib });
    if (problem !== undefined) return { exitCode: 3, stderr: `${head}${problem}\n` };
    const domain = { name, id: 0, uuid, memoryMib, maxMemoryMib, vcpus, flags: "", config, startedAtMs: 0 };
    boot(state, domain);
    if (flags.has("p")) domain.flags = FLAGS.paused;
    state.domains.push(domain);
    return { exitCode: 0, stderr: head };
  });
};

function readConfig(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    throw new XlFailure(`Failed to read config file: ${file}: No such file or directory`, 3);
  }
}

/** The guest obeys, unless a fault says otherwise; its domain stays, as its configuration says. */
const shutdown: XlCommand = ({ nodeFolder, names: [name] }) =>
  withXen(nodeFolder, (state) => {
    const domain = domainNamed(state, name);
    domain.flags = FLAGS.off;
    const said = [`Shutting down domain ${domain.id}`, "Waiting for 1 domains"];
    return {
      exitCode: 0,
      stderr: [...said, `Domain ${domain.id} has been shut down, reason code 0`, ""].join("\n"),
    };
  });

/** The file holds the domain, as the real one does; the guest stands still while it is written. */
const save: XlCommand = async ({ nodeFolder, names: [name = "", file = ""] }) => {
  await withXen(nodeFolder, (state) => domainNamed(state, name));
  if (!existsSync(path.dirname(file))) throw new XlFailure(`Failed to open temp file ${file} for writing`);
  const setFlags = (flags: string) =>
    withXen(nodeFolder, (state) => {
      const domain = domainNamed(state, name);
      domain.flags = flags;
      return { ...domain };
    });
  const domain = await setFlags(FLAGS.suspended);
  await delay(Number(/simulated-round-ms=(\d+)/.exec(domain.config)?.[1] ?? 0));
  try {
    writeFileSync(file, JSON.stringify(domain), { mode: 0o644 });
  } catch {
    await setFlags(FLAGS.running);
    throw new XlFailure("Failed to save domain, resuming domain");
  }
  return withXen(nodeFolder, (state) => {
    state.domains = state.domains.filter(({ id }) => id !== domain.id);
    return { exitCode: 0, stderr: `Saving to ${file} new xl format (info 0x3/0x0/916)\n` };
  });
};

/** The configuration may be another than the saved one, which `xm` has no way to be told; the number is new. */
const restore: XlCommand = ({ nodeFolder, flags, names }) => {
  const [configFile = "", file = configFile] = names;
  if (!existsSync(file)) throw new XlFailure("Can't open restore file: No such file or directory");
  const saved: SimulatedDomain = JSON.parse(readFileSync(file, "utf8"));
  const config = names.length > 1 ? readConfig(configFile) : saved.config;
  const { name } = parseDomainConfig(config, configFile);
  const said = [
    `Loading new save file ${file} (new xl fmt info 0x3/0x0/916)`,
    " Savefile contains xl domain config in JSON format",
    ...(names.length > 1 ? [`Parsing config from ${configFile}`] : []),
  ];
  const head = `${said.join("\n")}\n`;
  return withXen(nodeFolder, (state) => {
    const problem = refused(state, { name, memoryMib: saved.memoryMib });
    if (problem !== undefined) return { exitCode: 1, stderr: `${head}${problem}\n` };
    const domain = { ...saved, name, id: state.nextId++, config, flags: FLAGS.running as string };
    if (flags.has("p")) domain.flags = FLAGS.paused;
    state.domains.push(domain);
    return { exitCode: 0, stderr: head };
  });
};

/** One that is not paused is complained of, with success. */
const unpause: XlCommand = ({ nodeFolder, names: [name] }) =>
  withXen(nodeFolder, (state) => {
    const domain = domainNamed(state, name);
    if (domain.flags !== FLAGS.paused) {
      const complaint = `libxl_domain.c:688:domain_unpause_done: Domain ${domain.id}:Unpausing domain: Invalid argument`;
      return { exitCode: 0, stderr: `libxl: error: ${complaint}\n` };
    }
    domain.flags = FLAGS.running;
    return { exitCode: 0 };
  });

const reboot: XlCommand = ({ nodeFolder, names: [name] }) =>
  withXen(nodeFolder, (state) => {
    const domain = domainNamed(state, name);
    const { id } = domain;
    boot(state, domain);
    return { exitCode: 0, stderr: `Rebooting domain ${id}\n` };
  });

const destroy: XlCommand = ({ nodeFolder, names: [name] }) =>
  withXen(nodeFolder, (state) => {
    const { id } = domainNamed(state, name);
    state.domains = state.domains.filter((each) => each.id !== id);
    return { exitCode: 0 };
  });

/** As from Xen 4.20 on; a fault makes it an older one's. */
const resume: XlCommand = ({ nodeFolder, names: [name] }) =>
  withXen(nodeFolder, (state) => {
    const domain = domainNamed(state, name);
    if (domain.flags !== FLAGS.suspended) throw new XlFailure("libxl: error: Domain is not suspended");
    domain.flags = FLAGS.running;
    return { exitCode: 0 };
  });

const rename: XlCommand = ({ nodeFolder, names: [name, to = ""] }) =>
  withXen(nodeFolder, (state) => {
    domainNamed(state, name).name = to;
    return { exitCode: 0 };
  });

/** The guest follows a little later. */
const setMemory: XlCommand = async ({ nodeFolder, names: [name, memory] }) => {
  const memoryMib = Number(memory);
  await withXen(nodeFolder, (state) => {
    const { id, maxMemoryMib } = domainNamed(state, name);
    if (Number.isNaN(memoryMib)) throw new XlFailure(`invalid memory size: ${memory}`);
    if (memoryMib > maxMemoryMib)
      throw new XlFailure(
        `libxl: error: libxl_mem.c:278:libxl_set_memory_target: Domain ${id}:memory_dynamic_max must be less than or ` +
          `equal to memory_static_max\n\ncannot set domid ${id} dynamic max memory to : ${memory}`,
      );
  });
  await delay(50);
  return withXen(nodeFolder, (state) => {
    domainNamed(state, name).memoryMib = memoryMib;
    return { exitCode: 0 };
  });
};

const COMMANDS: Readonly<Record<string, { flags: string; withValue: string; run: XlCommand }>> = {
  create: { flags: "p", withValue: "", run: create },
  "debug-keys": { flags: "", withValue: "", run: () => ({ exitCode: 0 }) },
  destroy: { flags: "", withValue: "", run: destroy },
  info: { flags: "", withValue: "", run: info },
  list: { flags: "v", withValue: "", run: list },
  "mem-set": { flags: "", withValue: "", run: setMemory },
  migrate: { flags: "", withValue: "sC", run: migrate },
  "migrate-receive": { flags: "", withValue: "", run: receive },
  reboot: { flags: "F", withValue: "", run: reboot },
  rename: { flags: "", withValue: "", run: rename },
  restore: { flags: "p", withValue: "", run: restore },
  resume: { flags: "", withValue: "", run: resume },
  save: { flags: "", withValue: "", run: save },
  shutdown: { flags: "wF", withValue: "", run: shutdown },
  unpause: { flags: "", withValue: "", run: unpause },
};

const [nodeFolder = "", command = "", ...args] = process.argv.slice(2);
// Each command has a fault of its own: `xl-create`, and so on.
await runWithFaults(nodeFolder, `xl-${command}`, async () => {
  try {
    const known = COMMANDS[command];
    if (known === undefined) throw new XlFailure("command not implemented");
    return await known.run(readCall(nodeFolder, command, args, known));
  } catch (error) {
    if (!(error instanceof XlFailure)) throw error;
    return { exitCode: error.exitCode, stderr: `${error.message}\n` };
  }
});
process.exit();
