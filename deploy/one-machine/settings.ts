/** What `make run` reads from its environment. */
import { existsSync } from "node:fs";
import path from "node:path";
import { OpPrereqError } from "@gannet/errors";
import type { HypervisorName } from "@gannet/objects";

export const QEMU = "/usr/bin/qemu-system-x86_64";

/** Those that agents have drivers for and that one machine can run. */
const HYPERVISORS: readonly HypervisorName[] = ["kvm", "fake"];

const METRICS_PORTS = { standard: 0, min: 1, max: 65_535 };

export interface Settings {
  /** Absolute; everything the cluster is lives below it. */
  readonly stateDir: string;
  readonly rapiPort: number;
  readonly nodeCount: number;
  /** The first is the default of new instances. */
  readonly hypervisors: readonly HypervisorName[];
  readonly storage: "real" | "simulated";
  readonly logFormat: "pretty" | "json";
  readonly watcher: "on" | "off";
  /** Of figures for Prometheus: the master's at 127.0.0.1, each agent's at its node's address. None when absent. */
  readonly metricsPort?: number;
}

/** @throws OpPrereqError (wrong_input) naming the variable that is not usable */
export function settingsFrom(env: NodeJS.ProcessEnv): Settings {
  return {
    stateDir: path.resolve(env.GANNET_STATE_DIR || ".state"),
    rapiPort: wholeNumber(env, "GANNET_RAPI_PORT", { standard: 5080, min: 1, max: 65_535 }),
    nodeCount: wholeNumber(env, "GANNET_NODES", { standard: 3, min: 1, max: 200 }),
    hypervisors: hypervisors(env.GANNET_HYPERVISORS),
    storage: oneOf(env, "GANNET_STORAGE", ["real", "simulated"]),
    logFormat: oneOf(env, "GANNET_LOG_FORMAT", ["pretty", "json"]),
    watcher: oneOf(env, "GANNET_WATCHER", ["on", "off"]),
    ...(env.GANNET_METRICS_PORT ? { metricsPort: wholeNumber(env, "GANNET_METRICS_PORT", METRICS_PORTS) } : {}),
  };
}

function wholeNumber(
  env: NodeJS.ProcessEnv,
  name: string,
  range: { readonly standard: number; readonly min: number; readonly max: number },
): number {
  const text = env[name];
  if (text === undefined || text === "") return range.standard;
  const value = Number(text);
  if (!Number.isInteger(value) || value < range.min || value > range.max)
    throw wrong(name, text, `a whole number from ${range.min} to ${range.max}`);
  return value;
}

function oneOf<const Words extends readonly [string, ...string[]]>(
  env: NodeJS.ProcessEnv,
  name: string,
  words: Words,
): Words[number] {
  const text = env[name] || words[0];
  if (!words.includes(text)) throw wrong(name, text, `one of ${words.join(", ")}`);
  return text;
}

function hypervisors(text: string | undefined): readonly HypervisorName[] {
  if (text === undefined || text === "") return existsSync(QEMU) ? ["kvm", "fake"] : ["fake"];
  const names = text.split(",").map((name) => name.trim());
  for (const name of names)
    if (!(HYPERVISORS as readonly string[]).includes(name))
      throw wrong("GANNET_HYPERVISORS", name, `of ${HYPERVISORS.join(", ")}`);
  return names as HypervisorName[];
}

function wrong(name: string, value: string, expected: string): OpPrereqError {
  return new OpPrereqError(`${name} is "${value}"; it must be ${expected}`, "wrong_input");
}
