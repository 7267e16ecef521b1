/** After OP_CLUSTER_DESTROY the remote API shows what there was, and changes nothing. */
import { expect, test } from "vitest";
import { FENCE, startRapiTestbed } from "./rapi-testbed.ts";

test("a destroyed cluster is read as before, and every write is refused, with the reason", async () => {
  await using bed = await startRapiTestbed();
  await bed.configStore.commit(({ cluster }) => [{ kind: "cluster", put: { ...cluster, destroyed: true } }], FENCE);
  for (const [method, path] of [
    ["PUT", "/2/instances/inst1.gnt.test/startup"],
    ["PUT", "/2/tags?tag=late"],
    ["POST", "/2/filters"],
    ["DELETE", "/2/jobs/1"],
  ] as const)
    expect(await bed.call(method, path), `${method} ${path}`).toMatchObject({
      status: 409,
      json: { message: expect.stringMatching(/has been destroyed and takes no more changes/) },
    });
  expect((await bed.call("GET", "/2/info")).status).toBe(200);
  expect((await bed.call("PUT", "/2/query/node", { json: { fields: ["name"] } })).status).toBe(200);
  expect(await bed.ledger.ids({ archived: false })).toEqual([]);
});
