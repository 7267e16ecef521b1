/** Users of this node, as its name services tell of them. */
import { CommandError, HypervisorError } from "@gannet/errors";
import type { CommandRunner } from "@gannet/exec";
import type { NodeUser } from "../launch-plan.ts";

const GETENT = "/usr/bin/getent";
const TIMEOUT_MS = 10_000;
/** getent(1): one or more of the keys were not found. */
const NOT_FOUND = 2;
const USER_NAME = /^[A-Za-z_][A-Za-z0-9_.-]{0,30}\$?$/;

/**
 * The user called `security_domain`.
 * @throws HypervisorError when there is none, or it is root
 */
export async function userNamed(runner: CommandRunner, name: string): Promise<NodeUser> {
  const user = USER_NAME.test(name) ? (await readUsers(runner, [name]))[0] : undefined;
  if (user === undefined) throw new HypervisorError(`security_domain: this node has no user ${JSON.stringify(name)}`);
  if (user.uid === 0) throw new HypervisorError("security_domain: a guest is not to run as root");
  return user;
}

/** Those of the ids that are users here, with their groups. @throws HypervisorError when nobody tells */
export async function usersWithIds(runner: CommandRunner, uids: readonly number[]): Promise<readonly NodeUser[]> {
  return readUsers(runner, uids.map(String));
}

async function readUsers(runner: CommandRunner, keys: readonly string[]): Promise<readonly NodeUser[]> {
  if (keys.length === 0) return [];
  try {
    const { stdout } = await runner.run({
      argv: [GETENT, "passwd", ...keys],
      timeoutMs: TIMEOUT_MS,
      okExitCodes: [0, NOT_FOUND],
    });
    return parseUsers(stdout);
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    throw new HypervisorError(`The node's users cannot be read: ${error.message}`, { cause: error });
  }
}

/** Lines of passwd(5); others are passed over. */
export function parseUsers(text: string): readonly NodeUser[] {
  return text.split("\n").flatMap((line) => {
    const [, uid, gid] = /^[^:]+:[^:]*:(\d+):(\d+):/.exec(line) ?? [];
    return uid === undefined ? [] : [{ uid: Number(uid), gid: Number(gid) }];
  });
}
