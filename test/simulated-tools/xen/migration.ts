/**
 * The simulated `xl migrate` and `xl migrate-receive`: they speak over the same transport as the real ones and rename
 * domains as those do, with a stream of their own.
 */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import type { Writable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import type { ToolAnswer } from "../faults.ts";
import { parseDomainConfig } from "./domain-config.ts";
import { FLAGS, type SimulatedDomain, withXen } from "./state.ts";
import { type Call, domainNamed, XlFailure } from "./tool.ts";

const READY = "xl migration receiver ready";
const RECEIVED = "domain received";
const NAMED = "domain unpaused";
const ROUNDS = 10;
const PAGES = 1024;
const PAGES_TEXT = "x".repeat(65_536);

/** How long each tenth of the guest takes on its way; tests make it long to have the time to break it off. */
function roundMs(config: string): number {
  return Number(/simulated-round-ms=(\d+)/.exec(config)?.[1] ?? 10);
}

/** How long the guest stands still before it may run on the target. */
function handoverMs(config: string): number {
  return Number(/simulated-handover-ms=(\d+)/.exec(config)?.[1] ?? 0);
}

export async function migrate({ nodeFolder, options, names }: Call): Promise<ToolAnswer> {
  const [name = "", host = ""] = names;
  const config = readFileSync(options.get("C") ?? "", "utf8");
  const domain = await withXen(nodeFolder, (state) => domainNamed(state, name));
  const transport = spawn("/bin/sh", ["-c", `exec ${options.get("s")} ${host} xl migrate-receive`], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const ended = new Promise<void>((resolve) => transport.once("exit", () => resolve()));
  transport.stdin.on("error", () => {});
  const lines = createInterface({ input: transport.stdout })[Symbol.asyncIterator]();
  const expect = async (text: string): Promise<boolean> => (await lines.next()).value === text;
  try {
    if (!(await expect(READY))) return failed("no response from the receiver");
    await send(transport.stdin, JSON.stringify({ domain, config }));
    for (let round = 1; round <= ROUNDS; round += 1) {
      await Promise.race([delay(roundMs(config)), ended]);
      if (transport.exitCode !== null || transport.signalCode !== null) return failed("the stream is broken");
      process.stderr.write(`xc: progress: Frames: ${round * (PAGES / ROUNDS)}/${PAGES}   ${round * 10}%\n`);
      await send(transport.stdin, PAGES_TEXT);
    }
    await setFlags(nodeFolder, name, FLAGS.suspended);
    await send(transport.stdin, "");
    if (!(await expect(RECEIVED))) {
      await setFlags(nodeFolder, name, FLAGS.running);
      return failed("the receiver did not take the domain");
    }
    await rename(nodeFolder, name, `${name}--migratedaway`);
    await delay(handoverMs(config));
    await send(transport.stdin, "go");
    if (!(await expect(NAMED))) {
      return { exitCode: 1, stderr: "Migration failed, failing at sender: the receiver is gone\n" };
    }
    await withXen(nodeFolder, (state) => {
      state.domains = state.domains.filter((each) => each.name !== `${name}--migratedaway`);
    });
    return { exitCode: 0, stderr: "Migration successful.\n" };
  } finally {
    transport.stdin.end();
    transport.kill();
  }
}

export async function receive({ nodeFolder }: Call): Promise<ToolAnswer> {
  const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  const next = async (): Promise<string> => {
    const { done, value } = await lines.next();
    if (done) throw new XlFailure("migration target: the stream is broken");
    return value;
  };
  process.stdout.write(`${READY}\n`);
  const { domain, config }: { domain: SimulatedDomain; config: string } = JSON.parse(await next());
  const { name } = parseDomainConfig(config, "the stream");
  await withXen(nodeFolder, (state) => {
    if (state.domains.some((each) => each.name === name)) throw new XlFailure(`domain ${name} exists`);
    state.domains.push({
      ...domain,
      name: `${name}--incoming`,
      id: state.nextId++,
      flags: FLAGS.paused,
      startedAtMs: Date.now(),
      config,
    });
  });
  // What a broken stream leaves: the half domain is destroyed, as the real receiver does.
  try {
    while ((await next()) !== "");
    process.stdout.write(`${RECEIVED}\n`);
    await next();
  } catch (error) {
    await withXen(nodeFolder, (state) => {
      state.domains = state.domains.filter((each) => each.name !== `${name}--incoming`);
    });
    throw error;
  }
  await withXen(nodeFolder, (state) => {
    const arrived = domainNamed(state, `${name}--incoming`);
    arrived.name = name;
    arrived.flags = FLAGS.running;
  });
  process.stdout.write(`${NAMED}\n`);
  return { exitCode: 0 };
}

function failed(why: string): ToolAnswer {
  return { exitCode: 1, stderr: `${why}\nMigration failed, resuming at sender.\n` };
}

function rename(nodeFolder: string, from: string, to: string): Promise<void> {
  return withXen(nodeFolder, (state) => {
    domainNamed(state, from).name = to;
  });
}

function setFlags(nodeFolder: string, name: string, flags: string): Promise<void> {
  return withXen(nodeFolder, (state) => {
    domainNamed(state, name).flags = flags;
  });
}

function send(stream: Writable, line: string): Promise<void> {
  return new Promise((resolve) => {
    stream.write(`${line}\n`, () => resolve());
  });
}
