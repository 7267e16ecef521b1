/** What a site brings along: hooks around operations, and an allocator of its own, here Debian's hail. */
import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { layoutOf } from "../../deploy/one-machine/layout.ts";
import type { OneMachineCluster } from "../one-machine-cluster.ts";
import { createInstance, instanceRow, ONE, SLOW_MS, startSimulatedCluster, THREE, TWO } from "./simulated-instances.ts";

const NAME = "scripted.gannet.test";
const INSTANCE = `/2/instances/${NAME}`;
const HAIL = "/usr/lib/ganeti/iallocators/hail";
vi.setConfig({ testTimeout: SLOW_MS, hookTimeout: SLOW_MS });

let cluster: OneMachineCluster;
let hooksDir: string;
let allocatorsDir: string;
beforeAll(async () => {
  cluster = await startSimulatedCluster();
  ({ hooksDir, allocatorsDir } = layoutOf(cluster.stateDir, 3));
});
afterAll(() => cluster[Symbol.asyncDispose]());
afterEach(async () => {
  if ((await cluster.rapi("GET", INSTANCE)).status === 200) await cluster.succeed("DELETE", INSTANCE);
});

async function install(file: string, text: string): Promise<void> {
  await mkdir(path.dirname(file), { recursive: true });
  await writeFile(file, `#!/bin/sh\n${text}\n`, { mode: 0o755 });
}

test("a hook that the site has put on its nodes is told of each start, and may refuse it", async () => {
  await createInstance(cluster, NAME, { start: false });
  const told = path.join(cluster.stateDir, "told");
  await install(
    path.join(hooksDir, "instance-start-post.d/10-tell"),
    `echo "$GANETI_INSTANCE_NAME $GANETI_POST_INSTANCE_STATUS" >> ${told}`,
  );
  await install(
    path.join(hooksDir, "instance-start-pre.d/10-licence"),
    '[ "$GANETI_FORCE" = True ] || { echo none; exit 1; }',
  );
  const refused = await cluster.job("PUT", `${INSTANCE}/startup`);
  expect(refused).toMatchObject({ status: "error", opresult: [["HooksAbort", expect.anything()]] });
  expect(JSON.stringify(refused.opresult)).toContain('"instance-start-pre.d/10-licence"');
  expect((await instanceRow(cluster, NAME)).admin_state).toBe("down");
  expect(existsSync(told)).toBe(false);
  await cluster.succeed("PUT", `${INSTANCE}/startup?force=1`);
  // On the master's node and the two of the instance, of which the master's is one.
  expect((await readFile(told, "utf8")).trim().split("\n")).toEqual([`${NAME} up`, `${NAME} up`]);
});

if (!existsSync(HAIL)) console.log("skipped: ganeti-htools is not installed");
describe.skipIf(!existsSync(HAIL))("hail of ganeti-htools", () => {
  test("places an instance as it is, and says where there is no place", async () => {
    await install(path.join(allocatorsDir, "debian-hail"), `exec ${HAIL} "$@"`);
    await createInstance(cluster, NAME, { pnode: undefined, snode: undefined, iallocator: "debian-hail" });
    const { pnode, snodes } = await instanceRow(cluster, NAME);
    expect([ONE, TWO, THREE]).toEqual(expect.arrayContaining([pnode, ...(snodes as string[])]));
    expect(snodes).toHaveLength(1);
    const body = { mode: "replace_new_secondary", iallocator: "debian-hail" };
    await cluster.succeed("POST", `${INSTANCE}/replace-disks`, body);
    expect((await instanceRow(cluster, NAME)).snodes).not.toEqual(snodes);
    const none = await cluster.job("PUT", `${INSTANCE}/migrate`, { iallocator: "nobodys" });
    expect(none.status).toBe("error");
  });
});
