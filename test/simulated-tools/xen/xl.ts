/** Simulated `xl`, and `xm` by its other name: domains that are kept in a file. */
import { readFileSync, writeFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { runWithFaults } from "../faults.ts";
import { parseDomainConfig } from "./domain-config.ts";
import { migrate, receive } from "./migration.ts";
import { boot, FLAGS, freeMib, MACHINE_MIB, NODE_MIB, type SimulatedDomain, withXen } from "./state.ts";
import { domainNamed, readCall, type XlCommand, XlFailure } from "./tool.ts";

const NODE_UUID = "00000000-0000-0000-0000-000000000000";

const list: XlCommand = ({ nodeFolder, flags }) =>
  withXen(nodeFolder, ({ domains }) => {
    const verbose = flags.has("v");
    const head = `${"Name".padEnd(40)}    ID   Mem VCPUs\tState\tTime(s)`;
    const node = { name: "Domain-0", id: 0, memoryMib: NODE_MIB, vcpus: 1, flags: "r-----", uuid: NODE_UUID };
    const rows = [node, ...domains].map(({ name, id, memoryMib, vcpus, flags: state, uuid }) => {
      const row = [name.padEnd(40), String(id).padStart(5), String(memoryMib).padStart(5), String(vcpus).padStart(5)];
      const reason = state[3] === "s" ? "0" : "-";
      const more = verbose ? ` ${uuid} ${reason.padStart(8)} ${"-".padStart(16)}` : "";
      return `${row.join(" ")}     ${state}  ${"0.1".padStart(8)}${more}`;
    });
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

const create: XlCommand = ({ nodeFolder, flags, names: [file = ""] }) => {
  const config = readFileSync(file, "utf8");
  const { name, uuid, memoryMib, maxMemoryMib, vcpus } = parseDomainConfig(config);
  return withXen(nodeFolder, (state) => {
    if (state.domains.some((each) => each.name === name)) throw new XlFailure(`${name} already exists`);
    if (memoryMib > freeMib(state)) throw new XlFailure("failed to free memory for the domain", 3);
    const domain = { name, id: 0, uuid, memoryMib, maxMemoryMib, vcpus, flags: "", config, startedAtMs: 0 };
    boot(state, domain);
    if (flags.has("p")) domain.flags = FLAGS.paused;
    state.domains.push(domain);
    return { exitCode: 0, stdout: `Parsing config from ${file}\n` };
  });
};

/** The guest obeys, unless a fault says otherwise; its domain stays, as its configuration says. */
const shutdown: XlCommand = ({ nodeFolder, names: [name] }) =>
  withXen(nodeFolder, (state) => {
    const domain = domainNamed(state, name);
    domain.flags = FLAGS.off;
    return { exitCode: 0, stdout: `Shutting down domain ${domain.id}\nWaiting for 1 domains\n` };
  });

/** The file holds the domain, as the real one does; the guest stands still while it is written. */
const save: XlCommand = async ({ nodeFolder, names: [name = "", file = ""] }) => {
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
    return { exitCode: 0 };
  });
};

/** The configuration may be another than the saved one, which `xm` has no way to be told; the number is new. */
const restore: XlCommand = ({ nodeFolder, flags, names }) => {
  const saved: SimulatedDomain = JSON.parse(readFileSync(names.at(-1) ?? "", "utf8"));
  const config = names.length > 1 ? readFileSync(names[0] ?? "", "utf8") : saved.config;
  const { name } = parseDomainConfig(config);
  return withXen(nodeFolder, (state) => {
    if (state.domains.some((each) => each.name === name)) throw new XlFailure(`${name} already exists`);
    const domain = { ...saved, name, id: state.nextId++, config, flags: FLAGS.running as string };
    if (flags.has("p")) domain.flags = FLAGS.paused;
    state.domains.push(domain);
    return { exitCode: 0 };
  });
};

const unpause: XlCommand = ({ nodeFolder, names: [name] }) =>
  withXen(nodeFolder, (state) => {
    const domain = domainNamed(state, name);
    if (domain.flags === FLAGS.paused) domain.flags = FLAGS.running;
    return { exitCode: 0 };
  });

const reboot: XlCommand = ({ nodeFolder, names: [name] }) =>
  withXen(nodeFolder, (state) => {
    boot(state, domainNamed(state, name));
    return { exitCode: 0 };
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
    if (memoryMib > domainNamed(state, name).maxMemoryMib)
      throw new XlFailure("libxl: error: memory target must be less than the static maximum");
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
    if (known === undefined) throw new XlFailure(`command not implemented: ${command}`);
    return await known.run(readCall(nodeFolder, command, args, known));
  } catch (error) {
    if (!(error instanceof XlFailure)) throw error;
    return { exitCode: error.exitCode, stderr: `${error.message}\n` };
  }
});
process.exit();
