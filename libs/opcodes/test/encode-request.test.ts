/** What a client sends for an opcode's parameters is read as these parameters again. */
import { expect, test } from "vitest";
import {
  buildJobRequest,
  encodeJobRequest,
  exampleOf,
  findResource,
  type JsonSchema,
  jsonSchemaOf,
  OPCODES,
  parseOpcode,
  wireOpcode,
} from "../src/index.ts";

const SUBMITTED = [...OPCODES.values()].filter(({ rapi, cli }) => rapi.length > 0 || cli !== null);
/** What the example of a schema cannot guess. */
const NEEDED: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  OP_INSTANCE_QUERY_DATA: { instances: ["web1"], static: true },
  OP_NODE_QUERY_STORAGE: { nodes: ["node1"], output_fields: ["name", "free"] },
  OP_NODE_MODIFY_STORAGE: { changes: { allocatable: false }, name: "sda" },
  OP_REPAIR_NODE_STORAGE: { name: "xenvg" },
  OP_TAGS_SET: { kind: "instance", name: "web1", tags: ["a", "b"] },
  OP_TAGS_DEL: { kind: "nodegroup", name: "default", tags: ["a"] },
  OP_INSTANCE_REINSTALL: { os_type: "noop", osparams: { mirror: "x" } },
};

test.each(SUBMITTED)("$id", (opcode) => {
  const params = { ...(exampleOf(jsonSchemaOf(opcode) as JsonSchema, {}) as object), ...NEEDED[opcode.id] };
  const depends = [[17, ["success"]]] as const;
  const { method, target, body } = encodeJobRequest(opcode, { ...params, depends }, "to see");
  const url = new URL(target, "https://cluster");
  const found = findResource(url.pathname);
  const declared = found?.resource.methods.get(method);
  if (found === undefined || declared?.kind !== "job") throw new Error(`${method} ${target} submits no job`);
  const { opcodes } = buildJobRequest(
    declared,
    { pathParams: found.pathParams, query: url.searchParams, body },
    { timeNs: 1, rapiDefaults: "3.1" },
  );
  const read = opcodes.find(({ OP_ID }) => OP_ID === opcode.id);
  const { declaration, op } = parseOpcode({ OP_ID: opcode.id, ...params });
  const { reason: _none, depends: _null, dry_run: _unsaid, ...said } = wireOpcode(declaration, op);
  expect(read).toMatchObject(said);
  expect(opcodes[0]?.depends).toEqual(depends);
  expect(read?.reason).toEqual([["gnt:user", "to see", 1], expect.anything()]);
});
