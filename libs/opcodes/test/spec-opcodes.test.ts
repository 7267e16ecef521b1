import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import * as declarations from "../src/declarations.ts";
import { commonParams, jsonSchemaOf, OPCODES, type OpcodeDeclaration } from "../src/index.ts";

interface SpecParam {
  readonly type: string;
  readonly required?: true;
  readonly default?: unknown;
}
interface Spec {
  readonly common: Readonly<Record<string, SpecParam>>;
  readonly removed: readonly string[];
  readonly enums: Readonly<Record<string, readonly unknown[]>>;
  readonly opcodes: Readonly<
    Record<string, { readonly summary: string | null; readonly params: Readonly<Record<string, SpecParam>> }>
  >;
}

/** The facts of Ganeti's opcodes: names, types, required parameters and defaults. */
const spec = JSON.parse(readFileSync(new URL("fixtures/opcodes.json", import.meta.url), "utf8")) as Spec;

/** Values of a type that any parameter of it takes, and values that none takes. */
interface Samples {
  readonly good: readonly unknown[];
  readonly bad: readonly unknown[];
}
const UUID = "6a19e7bd-ee52-4c02-b97d-a7104105f1f7";
const nic = { mac: "aa:00:00:11:22:33", ip: null, vlan: "" };
const disk = { size: 16, mode: "rw", my_ext_param: "x" };
const word: Samples = { good: ["node1.example.com"], bad: [5, true, [], {}, "", "a\u0000b"] };

const SAMPLES: Readonly<Record<string, Samples>> = {
  any: { good: [1, "x", [], {}, true], bad: [] },
  bool: { good: [true, false], bad: ["yes", 1, 0, "true", []] },
  int: { good: [0, 7, -7], bad: ["x", 1.5, true] },
  "nonneg-int": { good: [0, 7], bad: [-1, 1.5, "x", true] },
  "pos-int": { good: [7], bad: [0, -1, 1.5, "x", true] },
  float: { good: [1.5, 2], bad: ["x", true, Number.NaN] },
  string: { good: ["node1"], bad: [5, true, [], "a\u0000b"] },
  "nonempty-string": word,
  ipv4: { good: ["192.0.2.1"], bad: ["192.0.2.300", "2001:db8::1", 1, ""] },
  "ipv4-net": { good: ["192.0.2.0/28"], bad: ["192.0.2.300/28", "192.0.2.0", "192.0.2.0/33"] },
  ipv6: { good: ["2001:db8::1"], bad: ["192.0.2.1", "2001:db8::g"] },
  "ipv6-net": { good: ["2001:db8::/64"], bad: ["2001:db8::", "2001:db8::/129"] },
  DiskIndex: { good: [0, 15, "3"], bad: [16, -1, "x", 1.5] },
  NicParams: { good: [{}, nic], bad: [{ speed: "fast" }, { mac: "" }, { ip: 5 }, []] },
  DiskParams: { good: [disk, { size: "1g" }, {}], bad: [{ size: 0 }, { mode: "rx" }, { x: true }, { "a b": 1 }, []] },
  ExportTarget: { good: ["node1", [["host", 1, "magic", "hmac", "salt"]]], bad: [5, [["host"]], "-rf"] },
  RecreateDisksInfo: { good: [[], [0, 2], [[1, disk]]], bad: [[-1], ["x"], [[1]], "0"] },
  "SetParamsMods<NicParams>": {
    good: [[], [["add", -1, nic]], [["modify", "eth0", nic]], [["add", nic]], [[0, nic]], [["remove", {}]]],
    bad: [
      [["grow", 0, nic]],
      [
        ["add", nic],
        ["add", -1, nic],
      ],
      [["add", -2, nic]],
      [["add"]],
      "add",
      [[-1, nic]],
    ],
  },
  "SetParamsMods<DiskParams>": { good: [[["add", disk]], [["detach", 1, {}]]], bad: [[["add", -1, { size: -1 }]]] },
  JobDependency: {
    good: [
      [3, ["success"]],
      [-1, []],
      ["12", ["error", "canceled"]],
    ],
    bad: [[3], ["x", []], [3, ["running"]], 3, [1.5, []]],
  },
  "[source:string, reason:string, ts-nanosec:int]": {
    good: [["gnt:user", "", 1_795_293_830_398 * 1e6]],
    bad: [
      ["gnt:user", ""],
      ["a", "b", 1.5],
    ],
  },
};

function samplesOf(type: string): Samples {
  const [, outer, inner = ""] = /^(optional|list|set|private|secret|dict)<(.*)>$/.exec(type) ?? [];
  switch (outer) {
    case "optional": {
      const { good, bad } = samplesOf(inner);
      return { good: [null, ...good], bad };
    }
    case "set":
    case "list": {
      const { good, bad } = samplesOf(inner);
      return { good: [[], ...good.map((value) => [value])], bad: ["x", {}, 5, ...bad.map((value) => [value])] };
    }
    case "private":
    case "secret":
      return samplesOf(inner);
    case "dict":
      return { good: [{}], bad: ["x", 5, [], { __proto__x: 1, "a b": 1 }] };
  }
  const [, enumName] = /^enum:(.*)$/.exec(type) ?? [];
  if (enumName !== undefined) return { good: spec.enums[enumName] ?? [], bad: ["bogus", 99, {}] };
  const [, tuple] = /^tuple<(.*)>$/.exec(type) ?? [];
  if (tuple !== undefined) {
    const [first = "", second = ""] = tuple.split(",");
    const [a, b] = [samplesOf(first), samplesOf(second)];
    return { good: a.good.map((value) => [value, b.good[0]]), bad: [[], [a.good[0]], [a.bad[0], b.good[0]]] };
  }
  const samples = SAMPLES[type];
  if (samples === undefined) throw new Error(`No samples for the type ${type}`);
  return samples;
}

/** Parameters that the specification calls text, and of which we know more. */
const NARROWER: readonly (readonly [name: RegExp, good: unknown])[] = [
  [/_uuids$/, [UUID]],
  [/_uuid$/, UUID],
  [/^(primary|secondary)_ip$/, "192.0.2.1"],
  [/^mac_prefix$/, "aa:00:00"],
  [/^enabled_hypervisors$/, ["kvm"]],
  [/^enabled_disk_templates$/, ["plain", "file"]],
  [/^(drbd_helper|(shared_file|gluster)_storage_dir)$/, "/srv/x"],
];
function goodSamples(name: string, opcodeId: string, { type }: SpecParam): readonly unknown[] {
  const narrower = NARROWER.find(([pattern]) => pattern.test(name));
  if (narrower !== undefined) return [narrower[1]];
  if (name === "file_storage_dir") return [opcodeId === "OP_CLUSTER_SET_PARAMS" ? "/srv/x" : "x/y"];
  if (opcodeId === "OP_INSTANCE_MULTI_ALLOC" && name === "instances")
    return [[], [{ instance_name: "web1", mode: "create", disks: [disk], nics: [nic] }]];
  if (name === "power_delay" || name === "duration") return [0, 1.5];
  return samplesOf(type).good;
}

const CASES = Object.entries(spec.opcodes).map(([id, facts]) => {
  const declaration = OPCODES.get(id);
  return { id, facts, declaration };
});

function declared(declaration: OpcodeDeclaration | undefined): OpcodeDeclaration {
  if (declaration === undefined) throw new Error("not declared");
  return declaration;
}

/** What no opcode of Ganeti's does: its watcher does it beside all jobs. */
const OUR_OPCODES: readonly string[] = ["OP_NODE_QUIESCE"];

test("every opcode of the specification is declared, and no other but our own", () => {
  expect([...OPCODES.keys()]).toEqual([...Object.keys(spec.opcodes), ...OUR_OPCODES].sort());
  expect(Object.keys(spec.opcodes)).toHaveLength(76);
});

test("each declaration is exported under its id's name", () => {
  const expected = Object.entries(declarations).map(([name, { id }]) => [name, id]);
  const fromId = expected.map(([, id]) => [
    String(id)
      .slice(3)
      .toLowerCase()
      .replaceAll(/(?:^|_)([a-z])/g, (_all, letter: string) => letter.toUpperCase()),
    id,
  ]);
  expect(expected).toEqual(fromId);
});

/** Parameters that Ganeti's opcodes have not: its command line changes the authority without a job. */
const OURS: Readonly<Record<string, readonly string[]>> = { OP_CLUSTER_RENEW_CRYPTO: ["cluster_certificate"] };

describe.each(CASES)("$id", ({ id, facts, declaration: maybe }) => {
  const declaration = declared(maybe);
  const specParams = Object.entries(facts.params);

  test("has the specification's parameters and summary", () => {
    expect(Object.keys(declaration.params).sort()).toEqual([...Object.keys(facts.params), ...(OURS[id] ?? [])].sort());
    expect(declaration.summary).toBe(facts.summary);
  });

  test("documents itself", () => {
    expect(declaration.doc).toMatch(/^[A-Z].*\.$/);
    const schema = jsonSchemaOf(declaration) as { properties: Record<string, { description?: string }> };
    expect(Object.keys(schema.properties).sort()).toEqual(
      [...Object.keys(facts.params), ...(OURS[id] ?? []), ...Object.keys(spec.common)].sort(),
    );
    for (const [name, property] of Object.entries(schema.properties))
      expect(property.description, name).toMatch(/^\S.*\.$/);
  });

  if (specParams.length === 0) return;

  test("requires what is required, and defaults as specified", () => {
    for (const [name, fact] of specParams) {
      for (const absent of [undefined, null]) {
        const parsed = declaration.params[name]?.safeParse(absent);
        if (fact.required) expect(parsed?.success, `${name} = ${absent}`).toBe(false);
        else expect([name, parsed?.data], `${name} = ${absent}`).toEqual([name, fact.default]);
      }
    }
  });

  test("takes the specification's types", () => {
    for (const [name, fact] of specParams) {
      const schema = declaration.params[name];
      for (const value of goodSamples(name, id, fact))
        expect(schema?.safeParse(value).success, `${name} = ${JSON.stringify(value)}`).toBe(true);
      for (const value of samplesOf(fact.type).bad)
        expect(schema?.safeParse(value).success, `${name} = ${JSON.stringify(value)}`).toBe(false);
    }
  });

  test("has a JSON Schema whose required keys are the specification's", () => {
    const schema = jsonSchemaOf(declaration) as { required?: string[]; additionalProperties: unknown };
    const required = specParams.filter(([, fact]) => fact.required).map(([name]) => name);
    expect((schema.required ?? []).toSorted()).toEqual(required.toSorted());
    expect(schema.additionalProperties).toBe(false);
    expect(() => z.toJSONSchema(declaration.result)).not.toThrow();
  });

  test("names parameters that it has on its command line", () => {
    for (const arg of declaration.cli?.args ?? []) expect(Object.keys(declaration.params)).toContain(arg);
  });
});

test("command lines are distinct", () => {
  const words = [...OPCODES.values()].flatMap(({ cli }) => (cli === null ? [] : [cli.words]));
  expect(new Set(words).size).toBe(words.length);
  expect(words.length).toBeGreaterThan(50);
});

test("the common parameters are the specification's", () => {
  expect(Object.keys(commonParams)).toEqual(Object.keys(spec.common));
  for (const [name, fact] of Object.entries(spec.common)) {
    const schema = commonParams[name as keyof typeof commonParams];
    expect(schema.parse(undefined)).toEqual(fact.default);
    expect(schema.parse(null)).toEqual(fact.default);
    const { good, bad } = samplesOf(fact.type);
    for (const value of good) expect(schema.safeParse(value).success, `${name} ${JSON.stringify(value)}`).toBe(true);
    for (const value of bad) expect(schema.safeParse(value).success, `${name} ${JSON.stringify(value)}`).toBe(false);
  }
});

test("the parameters shown as redacted are those the specification calls private or secret", async () => {
  const { REDACTED_PARAMS } = await import("../src/params/secrets.ts");
  const secret = Object.values(spec.opcodes).flatMap(({ params }) =>
    Object.entries(params).flatMap(([name, { type }]) => (/private<|secret</.test(type) ? [name] : [])),
  );
  expect([...REDACTED_PARAMS].sort()).toEqual([...new Set(secret)].sort());
});
