/** The optional checks of a new instance's name and address against the world outside the cluster. */
import { lookup } from "node:dns/promises";
import { connect } from "node:net";
import { OpPrereqError } from "@gannet/errors";

/** The agent's port; whoever answers there, or refuses, is alive (spec/node-ops.json, `misc`). */
const PING_PORT = 1811;
const PING_TIMEOUT_MS = 3_000;

/**
 * `name_check`: the name must resolve. `ip_check`: nobody may use its address yet.
 * @throws OpPrereqError: resolver_error, resource_not_unique, wrong_input
 */
export async function checkName(
  name: string,
  { nameCheck, ipCheck }: { readonly nameCheck: boolean; readonly ipCheck: boolean },
): Promise<void> {
  if (ipCheck && !nameCheck)
    throw new OpPrereqError("ip_check needs name_check: the address comes from the name", "wrong_input");
  if (!nameCheck) return;
  const address = await lookup(name).catch((cause: Error) => {
    throw new OpPrereqError(`The name ${name} does not resolve: ${cause.message}`, "resolver_error", { cause });
  });
  if (ipCheck && (await isAlive(address.address)))
    throw new OpPrereqError(`IP ${address.address} of instance ${name} is already in use`, "resource_not_unique");
}

function isAlive(host: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port: PING_PORT, timeout: PING_TIMEOUT_MS });
    const answer = (alive: boolean) => {
      socket.destroy();
      resolve(alive);
    };
    socket.once("connect", () => answer(true));
    socket.once("timeout", () => answer(false));
    socket.once("error", (error: NodeJS.ErrnoException) => answer(error.code === "ECONNREFUSED"));
  });
}
