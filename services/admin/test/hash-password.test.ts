/** The line that `gannet-admin hash-password` prints is one that the password fits. */
import { createCommandRunner } from "@gannet/exec";
import { matchesPassword, parsePasswordHash } from "@gannet/pki";
import { silentLogger } from "@gannet/telemetry";
import { expect, test } from "vitest";

const runner = createCommandRunner({ logger: silentLogger() });
const SCRIPT = `import { hashPasswordCommand } from ${JSON.stringify(new URL("../src/hash-password.ts", import.meta.url).href)};
try { await hashPasswordCommand.parseAsync(process.argv.slice(1), { from: "user" }); }
catch (error) { console.log(error.message); }`;

async function run(input: string, ...args: string[]): Promise<string> {
  const argv = [process.execPath, "--input-type=module", "--eval", SCRIPT, "--", ...args] as const;
  return (await runner.run({ argv, input, timeoutMs: 30_000 })).stdout;
}

test("a line for the users file", async () => {
  const line = await run("p: ä ss\nnot this\n", "mary", "--options", "write,root");
  const [, hash = ""] = /^mary \{scrypt\}(\S+) write,root\n$/.exec(line) ?? [];
  const parsed = parsePasswordHash(hash);
  if (parsed === undefined) expect.unreachable(line);
  expect(await matchesPassword("p: ä ss", parsed)).toBe(true);
  expect(await matchesPassword("p: ä ss\n", parsed)).toBe(false);
});

test.for([
  ["", ["mary"], /1 to 1024 bytes/],
  ["password\n", ["mary", "--options", "admin"], /no option admin; there are read, write, root/],
  ["password\n", ["ma ry"], /neither blanks nor colons/],
] as const)("%j with %j is refused", async ([input, args, reason]) => {
  expect(await run(input, ...args)).toMatch(reason);
});
