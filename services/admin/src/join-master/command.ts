/** `gannet-admin join-master`: a second machine that can lead the cluster. */
import { readFile } from "node:fs/promises";
import type { Socket } from "node:net";
import { text } from "node:stream/consumers";
import { OpPrereqError, Unavailable } from "@gannet/errors";
import { createCommandRunner } from "@gannet/exec";
import { JoinClient } from "@gannet/rapi-client";
import { connectRedis, type Endpoint, type RedisAddress, redisReady } from "@gannet/redis";
import { createLogger } from "@gannet/telemetry";
import { Command } from "commander";
import { MachinePlaces } from "../init/machine-places.ts";
import { systemServices } from "../init/machine-services.ts";
import { type JoinedMaster, joinMaster } from "./join-master.ts";

const REDIS_WITHIN_MS = 30_000;

interface Options {
  readonly token?: string;
  readonly tokenFile?: string;
  readonly name?: string;
  readonly force: boolean;
  readonly root: string;
}

export const joinMasterCommand = new Command("join-master")
  .description("Let this machine, a node of a cluster, be one of its masters' machines, too")
  .argument("<url>", "the cluster's remote API: https://HOST:5080")
  .option("--token <token>", "as it was made for this node with the role master")
  .option("--token-file <file>", "holds it; - is the standard input")
  .option("--name <name>", "of the node; what its agent's configuration says by default")
  .option("--force", "also where there is a master: its files are made anew", false)
  .option("--root <dir>", "prefix of the system's layout; the daemons are not started then", "/")
  .action(run);

async function run(url: string, options: Options): Promise<void> {
  const places = new MachinePlaces(options.root);
  if (places.isWholeMachine && process.geteuid?.() !== 0)
    throw new OpPrereqError("A master is set up as root", "environment_error");
  const client = await JoinClient.open(url, await tokenOf(options));
  const { name, force } = options;
  const joined = await joinMaster({ name, force }, { places, client, primaryOf });
  const logger = await createLogger({ name: "join-master", level: "warn", format: "pretty" });
  const services = places.isWholeMachine ? systemServices(createCommandRunner({ logger })) : undefined;
  await services?.start();
  console.log(nextSteps(joined, services !== undefined).join("\n"));
}

async function tokenOf({ token, tokenFile }: Options): Promise<string> {
  if ((token === undefined) === (tokenFile === undefined))
    throw new OpPrereqError("Give the token, by --token or by --token-file", "wrong_input");
  return (token ?? (await (tokenFile === "-" ? text(process.stdin) : readFile(String(tokenFile), "utf8")))).trim();
}

/** Whom the sentinels lead to. */
async function primaryOf(address: RedisAddress): Promise<Endpoint> {
  const redis = connectRedis(address, { name: "join-master" });
  try {
    await redisReady(redis, { timeoutMs: REDIS_WITHIN_MS });
    const { remoteAddress, remotePort } = redis.stream as Socket;
    if (remoteAddress === undefined || remotePort === undefined)
      throw new Unavailable("The connection to Redis was lost; try again");
    return { address: remoteAddress.replace(/^::ffff:/, ""), port: remotePort };
  } finally {
    redis.disconnect();
  }
}

function nextSteps({ clusterName, nodeName, masters }: JoinedMaster, isRunning: boolean): readonly string[] {
  return [
    `${nodeName} is a master's machine of cluster ${clusterName}, one of ${masters}${isRunning ? ", and runs" : ""}.`,
    "The leader takes its servers into the cluster, and tells the other masters of it, as soon as they answer",
    "(gnt cluster masters).",
    ...(masters === 2
      ? [
          "Two masters are no safer than one: when either dies the other is no majority, takes no changes, and does not",
          "lead, until the first is back. Let a third one join.",
        ]
      : []),
    ...(masters > 2 && masters % 2 === 0
      ? [`${masters} masters survive no more deaths than ${masters - 1}: let another one join.`]
      : []),
    "As root gnt works here now, too.",
  ];
}
