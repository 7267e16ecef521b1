/** Other programs take over this one's place: its output, its exit code. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { OpPrereqError } from "@gannet/errors";
import { expect, test } from "vitest";
import { commandTree } from "../src/command-tree.ts";
import { handOver } from "../src/hand-over.ts";
import { handedOver as passedOn } from "../src/program.ts";

const MODULE = new URL("../src/hand-over.ts", import.meta.url).href;

async function handedOver(program: string, ...args: readonly string[]) {
  const code = `(await import("${MODULE}")).handOver(...JSON.parse(process.argv[1]), { PATH: "/usr/bin:/bin", ONLY: "1" })`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", code, JSON.stringify([program, args])]);
  const { pid } = child;
  let out = "";
  child.stdout.on("data", (chunk: Buffer) => {
    out += chunk.toString();
  });
  const [exitCode] = await once(child, "close");
  return { out, exitCode: exitCode as number | null, pid };
}

test("a program has this process, its arguments as they are, and its exit code", async () => {
  const { out, exitCode, pid } = await handedOver("sh", "-c", 'echo "$$ $1 $ONLY"; exit 7', "sh", "a b;c");
  expect([out, exitCode]).toEqual([`${pid} a b;c 1\n`, 7]);
});

test("one that is not there is named", () => {
  expect(() => handOver("/usr/sbin/no-such-program", [], {})).toThrow(
    new OpPrereqError("/usr/sbin/no-such-program is not installed on this machine", "environment_error"),
  );
  expect(() => handOver("no-such-program", [], { PATH: "/usr/bin" })).toThrow(/is not installed/);
});

test("everything behind the words is the other program's", () => {
  const argv = ["cluster", "restore", "--cluster", "x", "--help", "file"];
  const found = passedOn(argv, commandTree());
  expect([found?.spec.words.join(" "), found?.args]).toEqual(["cluster restore", ["--cluster", "x", "--help", "file"]]);
  expect(passedOn(["cluster", "info", "--json"], commandTree())).toBeUndefined();
});
