/** @gannet/rapi-client against the real server: what it sends is what the server reads. */
import { HttpError, OpPrereqError } from "@gannet/errors";
import { InstanceShutdown, InstanceStartup, TagsSet } from "@gannet/opcodes";
import { RapiClient } from "@gannet/rapi-client";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type JobBed, startJobBed } from "./job-bed.ts";
import { SERVER_NAME } from "./rapi-testbed.ts";

let bed: JobBed;
let client: RapiClient;
beforeAll(async () => {
  bed = await startJobBed();
  const { server, identity } = bed.rapi;
  client = new RapiClient({
    host: "127.0.0.1",
    port: server.address.port,
    user: "admin",
    password: "secret",
    ca: identity.ca,
    serverName: SERVER_NAME,
  });
});
afterAll(async () => {
  client[Symbol.dispose]();
  await bed[Symbol.asyncDispose]();
});

test("a job is submitted, waited for, and its result answered", async () => {
  const tags = { kind: "instance", name: "inst1.gnt.test", tags: ["by-client"] } as const;
  expect(await client.run(TagsSet, tags, { reason: "a test" })).toBe(null);
  expect(await client.get("/2/instances/:instance_name/tags", { instance_name: "inst1.gnt.test" })).toContain(
    "by-client",
  );
});

test("a job that fails throws its error", async () => {
  const failed = client.run(InstanceStartup, { instance_name: "nosuch.gnt.test" });
  await expect(failed).rejects.toThrow(OpPrereqError);
  await expect(failed).rejects.toMatchObject({ code: "unknown_entity" });
});

test("a submission with a key that was used is the first one's job", async () => {
  const shutdown = () =>
    client.submit(InstanceShutdown, { instance_name: "nosuch.gnt.test" }, { idempotencyKey: "key-of-a-test" });
  expect(await shutdown()).toBe(await shutdown());
});

test("a refusal is thrown with its status", async () => {
  await expect(client.get("/2/nodes/:node_name", { node_name: "nosuch" })).rejects.toThrow(
    new HttpError(404, "Not Found"),
  );
  await expect(client.get("/2/query/:resource", { resource: "node" })).rejects.toMatchObject({ status: 400 });
});

test("lists are plain or whole, and bodies are sent", async () => {
  const [entry] = await client.get("/2/nodes");
  expect(Object.keys(entry ?? {})).toEqual(["id", "uri"]);
  const [row] = await client.get("/2/nodes", { query: { bulk: true } });
  expect(row).toMatchObject({ role: "M" });
  const body = { fields: ["name"], qfilter: ["=", "role", "M"] };
  const { data } = await client.put("/2/query/:resource", { resource: "node", body });
  expect(data).toEqual([[[0, row?.name]]]);
});
