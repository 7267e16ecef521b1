/** `/2/opcodes/OP_…` takes the same rights as the resource that Ganeti has for the same operation. */
import { RESOURCE_KINDS } from "@gannet/objects";
import { findResource, type JobMethod, kindOfOpcode, methodKind, OPCODES, RESOURCES } from "@gannet/opcodes";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Call, type RapiTestbed, startRapiTestbed, USERS } from "./rapi-testbed.ts";

let bed: RapiTestbed;
/** Who asks: users by their options, tokens by their only right. */
let askers: ReadonlyMap<string, Call>;
const ROOT: Call = { user: null, headers: { Authorization: `Basic ${btoa("root:toor")}` } };

beforeAll(async () => {
  bed = await startRapiTestbed({ users: `${USERS}root {cleartext}toor write,root\n` });
  const tokens = RESOURCE_KINDS.flatMap((kind) =>
    (["read", "write"] as const).map(async (right) => {
      const call = await tokenWith({ rights: { [kind]: right } });
      return [`a token that may ${right} ${kind}`, call] as const;
    }),
  );
  const users = (["admin", "operator", "reader"] as const).map((user) => [user, { user } as Call] as const);
  askers = new Map([...users, ...(await Promise.all(tokens))]);
});
afterAll(() => bed[Symbol.asyncDispose]());

async function tokenWith(json: object): Promise<Call> {
  const { status, json: made } = await bed.call("POST", "/2/tokens", { ...ROOT, json: { name: "test", ...json } });
  expect(status).toBe(200);
  return { user: null, headers: { Authorization: `Bearer ${(made as { token: string }).token}` } };
}

const regular = RESOURCES.flatMap(({ methods }) => [...methods.values()]).filter(
  (method): method is JobMethod => method.kind === "job" && method.route.extension !== true,
);
const withBoth = regular.filter(({ opcode }) => opcode.cli !== null);

/** Who is not refused for lack of a right; what else may be wrong with the request does not matter. */
async function admitted(method: string, path: string, json: object | undefined): Promise<readonly string[]> {
  const answers = [...askers].map(async ([name, call]) => {
    const { status } = await bed.call(method, path, { ...call, ...(json === undefined ? {} : { json }) });
    return { name, status };
  });
  return (await Promise.all(answers)).flatMap(({ name, status }) => (status === 403 ? [] : [name]));
}

test("all operations that have both take the same by their declarations", () => {
  expect(withBoth.length).toBeGreaterThanOrEqual(50);
  const needs = (method: JobMethod, kind: string) => `${method.opcode.id}: ${method.access} ${kind}`;
  for (const method of withBoth) {
    const own = findResource(`/2/opcodes/${method.opcode.id}`)?.resource.methods.get("POST") as JobMethod;
    const kind = kindOfOpcode(own.opcode, method.route.fixed ?? {});
    expect(needs(own, kind)).toBe(needs(method, methodKind(method, {})));
    expect([kind, "stated"]).toContain(methodKind(own, {}));
  }
});

const ASKED_FOR = /^OP_(TAGS_|REPAIR_|INSTANCE_QUERY_DATA|NODE_QUERY_STORAGE|GROUP_ADD|CLUSTER_SET_PARAMS)/;
const requests = withBoth.filter(({ opcode }) => ASKED_FOR.test(opcode.id));
test.for(requests.map((method) => [`${method.method} ${method.path}`, method.opcode.id, method] as const))(
  "%s and %s",
  async ([, id, { method, path, route }]) => {
    const place = path.replace(":disk_index", "0").replaceAll(/:\w+/g, "some.test");
    const needs = await admitted(method, place, method === "POST" ? {} : undefined);
    // Whose tags they are is told in the body.
    const body = id.startsWith("OP_TAGS_") ? { ...route.fixed, name: "some.test", tags: ["a"] } : {};
    expect(await admitted("POST", `/2/opcodes/${id}`, body)).toEqual(needs);
    expect(needs.length).toBeLessThan(askers.size);
    expect(needs).toContain("admin");
  },
);

test("by which the whole cluster may be lost take the right of root", async () => {
  const grave = [...OPCODES.values()].filter(({ needsRoot }) => needsRoot).map(({ id }) => id);
  expect(grave).toEqual(["OP_CLUSTER_DESTROY", "OP_CLUSTER_RENAME", "OP_CLUSTER_RENEW_CRYPTO"]);
  const body = { OP_CLUSTER_RENAME: { name: "other.test" } } as Readonly<Record<string, object>>;
  const rights = { cluster: "write" };
  const askersOfGrave = [
    [{ user: "admin" }, 403],
    [await tokenWith({ rights }), 403],
    [await tokenWith({ rights: { nodes: "write" }, root: true }), 403],
    [await tokenWith({ rights, root: true }), 200],
    [ROOT, 200],
  ] as const satisfies readonly (readonly [Call, number])[];
  for (const id of grave)
    for (const [call, status] of askersOfGrave)
      expect((await bed.call("POST", `/2/opcodes/${id}`, { ...call, json: body[id] ?? {} })).status).toBe(status);
  const { json } = await bed.call("POST", "/2/opcodes/OP_CLUSTER_DESTROY", { json: {} });
  expect(json).toMatchObject({ message: expect.stringContaining("the option root") });
});
