/** Job filters of a whole cluster, made and removed by Debian's python3-ganeti-rapi. */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type DocumentedProxy, startDocumentedProxy } from "../compat/documented-proxy.ts";
import { OneMachineCluster } from "../one-machine-cluster.ts";

const PYTHON = "/usr/bin/python3";
const CLIENT = "/usr/lib/python3/dist-packages/ganeti/rapi/client.py";
const possible = existsSync(CLIENT);
if (!possible) console.log("skipped: python3-ganeti-rapi is not installed");

const OF_TAGS = ["opcode", ["==", "OP_ID", "OP_TAGS_SET"]];
const SUBMITTED_LATER = ["jobid", [">", "id", "watermark"]];

const CREATE = {
  __version__: 1,
  mode: "create",
  instance_name: "web1.gannet.test",
  disk_template: "diskless",
  disks: [],
  nics: [{}],
  os_type: "noop",
  pnode: "node1.gannet.test",
  hypervisor: "fake",
};

describe.skipIf(!possible)("the Python client's filters", () => {
  let cluster: OneMachineCluster;
  let proxy: DocumentedProxy;
  beforeAll(async () => {
    cluster = await OneMachineCluster.start({ nodes: 1, hypervisors: "fake" });
    proxy = await startDocumentedProxy(cluster);
  });
  afterAll(async () => {
    await proxy?.[Symbol.asyncDispose]();
    await cluster?.[Symbol.asyncDispose]();
  });

  async function client(method: string, ...args: readonly unknown[]): Promise<unknown> {
    const script = path.join(import.meta.dirname, "rapi_call.py");
    const argv = [script, String(proxy.port), cluster.user, cluster.password, method, JSON.stringify(args)];
    const { stdout } = await promisify(execFile)(PYTHON, argv);
    expect(proxy.faults).toEqual(new Set());
    const { answer, ...refusal } = JSON.parse(stdout) as { answer?: unknown };
    return answer === undefined ? refusal : answer;
  }

  const submitTag = async (tag: string) => {
    const { body } = await cluster.rapi("PUT", `/2/tags?tag=${tag}`);
    return body as number;
  };
  const statusOf = async (id: number) =>
    ((await cluster.rapi("GET", `/2/jobs/${id}`)).body as { status: string }).status;

  test("pause, limit, reject and let go", async () => {
    const uuid = await client("AddFilter", 5, [OF_TAGS], "PAUSE", [["gnt:user", "no tags today", 1]]);
    expect(uuid).toEqual(expect.stringMatching(/^[0-9a-f-]{36}$/));
    const paused = await submitTag("paused");
    await cluster.succeed("POST", "/2/instances", CREATE);
    expect(await statusOf(paused)).toBe("queued");

    expect(await client("GetFilters")).toEqual([uuid]);
    const row = {
      uuid,
      watermark: 0,
      priority: 5,
      predicates: [OF_TAGS],
      action: "PAUSE",
      reason_trail: [
        ["gnt:user", "no tags today", 1],
        ["gnt:client", "", expect.any(Number)],
        ["luxid", "", expect.any(Number)],
      ],
    };
    expect(await client("GetFilters", true)).toEqual([row]);
    expect(await client("GetFilter", uuid)).toEqual(row);

    expect(await client("ReplaceFilter", uuid, 5, [OF_TAGS], ["RATE_LIMIT", 1])).toBe(uuid);
    expect(await cluster.finished(paused)).toMatchObject({ status: "success" });
    const limited = [await submitTag("a"), await submitTag("b"), await submitTag("c")];
    for (const id of limited) expect(await cluster.finished(id)).toMatchObject({ status: "success" });

    expect(await client("ReplaceFilter", uuid, 0, [SUBMITTED_LATER, OF_TAGS], "REJECT")).toBe(uuid);
    const rejected = await submitTag("rejected");
    expect(await cluster.finished(rejected)).toMatchObject({ status: "canceled", opresult: [null] });

    expect(await client("DeleteFilter", uuid)).toBeNull();
    expect(await client("GetFilters")).toEqual([]);
    const free = await submitTag("free");
    expect(await cluster.finished(free)).toMatchObject({ status: "success" });
    expect((await cluster.rapi("GET", "/2/tags")).body).toEqual(["a", "b", "c", "free", "paused"]);
  });

  test("what is refused", async () => {
    expect(await client("AddFilter", 0, [], "STOP")).toMatchObject({ code: 400 });
    expect(await client("AddFilter", -1, [], "PAUSE")).toMatchObject({ code: 400 });
    expect(await client("ReplaceFilter", "nosuch", 0, [], "PAUSE")).toMatchObject({ code: 400 });
    const unknown = "00000000-0000-0000-0000-000000000000";
    expect(await client("GetFilter", unknown)).toMatchObject({ code: 404 });
    expect(await client("DeleteFilter", unknown)).toMatchObject({ code: 404 });
    expect(await client("GetFilters")).toEqual([]);
  });
});
