#!/usr/bin/env node
/** `gannet-node`, for whoever sets up a node's machine. */
import { readFile } from "node:fs/promises";
import path from "node:path";
import { text } from "node:stream/consumers";
import { parseArgs } from "node:util";
import { exitCodeOf, GannetError, OpPrereqError } from "@gannet/errors";
import { createCommandRunner } from "@gannet/exec";
import { below, SYSTEM_LAYOUT } from "@gannet/objects";
import { JoinClient } from "@gannet/rapi-client";
import { createLogger } from "@gannet/telemetry";
import { startAgentService } from "./join/agent-service.ts";
import { joinNode } from "./join/join-node.ts";

const USAGE = `usage: gannet-node join URL (--token TOKEN | --token-file FILE) [options]

Make this machine a node of the cluster whose remote API is at URL, with the token that 'gnt node add' has printed.
A token file named - is standard input: so the token does not stand in the list of processes.

  --name NAME      of this node, where the machine calls itself something else
  --config FILE    the agent's configuration; kept when it is there and for this node
                   (default ${SYSTEM_LAYOUT.nodeConfigFile})
  --root DIR       prefix of the system's layout; the agent is not started then
  --force          make the configuration anew
  --wait SECONDS   for the agent, and for the cluster to take the node in (default 180)
  --help`;

const OPTIONS = {
  token: { type: "string" },
  "token-file": { type: "string" },
  name: { type: "string" },
  config: { type: "string" },
  root: { type: "string", default: "/" },
  force: { type: "boolean", default: false },
  wait: { type: "string", default: "180" },
  help: { type: "boolean", default: false },
} as const;

async function main(): Promise<void> {
  const { values, positionals } = parseArguments();
  if (values.help) {
    console.log(USAGE);
    return;
  }
  const [command, url, ...more] = positionals;
  if (command !== "join" || url === undefined || more.length > 0) throw new OpPrereqError(USAGE, "wrong_input");
  const patienceMs = Number(values.wait) * 1000;
  if (!(patienceMs > 0)) throw new OpPrereqError(`--wait: ${values.wait} is no number of seconds`, "wrong_input");
  const client = await JoinClient.open(url, await tokenOf(values));
  const logger = await createLogger({ name: "gannet-node", level: "warn", format: "pretty" });
  const runner = createCommandRunner({ logger });
  const { name, force } = values;
  const root = path.resolve(values.root);
  const configFile = values.config ?? below(root, SYSTEM_LAYOUT.nodeConfigFile);
  const startAgent = async () => root === "/" && (await startAgentService(runner));
  await joinNode(
    { name, root, configFile, force, patienceMs },
    { client, startAgent, print: (line) => console.log(line) },
  );
}

function parseArguments() {
  try {
    return parseArgs({ options: OPTIONS, allowPositionals: true });
  } catch (error) {
    throw new OpPrereqError(`${error instanceof Error ? error.message : error}\n\n${USAGE}`, "wrong_input");
  }
}

async function tokenOf({ token, "token-file": file }: { token?: string; "token-file"?: string }): Promise<string> {
  if ((token === undefined) === (file === undefined))
    throw new OpPrereqError("Give the token, by --token or by --token-file", "wrong_input");
  return (token ?? (await (file === "-" ? text(process.stdin) : readFile(String(file), "utf8")))).trim();
}

main().catch((error: unknown) => {
  console.error("gannet-node:", error instanceof GannetError || isSystemError(error) ? error.message : error);
  process.exit(exitCodeOf(error));
});

function isSystemError(error: unknown): error is Error {
  return error instanceof Error && "code" in error;
}
