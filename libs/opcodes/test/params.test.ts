import { parseSizeMib } from "@gannet/objects";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { findOpcode, OPCODES, p, parseOpcode, wireOpcode } from "../src/index.ts";

describe("sizes", () => {
  test.each([
    [128, 128],
    [0, 0],
    ["128", 128],
    ["128m", 128],
    ["1g", 1024],
    ["1.5G", 1536],
    ["1.5 GiB", 1536],
    ["2tb", 2_097_152],
    ["0.5", 1],
    ["1.3g", 1332],
    [2 ** 53 - 1, 2 ** 53 - 1],
  ])("%j is %d MiB", (given, expected) => {
    expect(parseSizeMib(given)).toBe(expected);
  });

  test.each([
    -1,
    1.5,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    2 ** 53,
    "9007199254740992",
    "9999999999t",
    "-1",
    "-1g",
    "",
    " ",
    "g",
    "1k",
    "1gg",
    "1e3",
    "0x10",
    "1,5g",
    ".5g",
    "1.g",
    "1 g ",
    "1g\n",
    "١g",
    "1".repeat(400),
    null,
    true,
    [],
    {},
  ])("%j is none", (given) => {
    expect(parseSizeMib(given)).toBeUndefined();
    expect(p.size.safeParse(given).success).toBe(false);
  });

  const units = [
    ["", 1],
    ["m", 1],
    ["MiB", 1],
    ["g", 1024],
    ["GB", 1024],
    ["t", 1024 ** 2],
    ["TiB", 1024 ** 2],
  ] as const;

  test("whole amounts in any unit are exact, or refused where a number cannot hold them", () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), fc.constantFrom(...units), fc.constantFrom("", " "), (amount, [unit, mib], gap) => {
        const exact = BigInt(amount) * BigInt(mib);
        const expected = exact <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(exact) : undefined;
        expect(parseSizeMib(`${amount}${unit === "" ? "" : gap}${unit}`)).toBe(expected);
      }),
    );
  });

  test("fractions are rounded up to the next MiB, never down", () => {
    fc.assert(
      fc.property(fc.nat(1_000_000), fc.nat(999), fc.constantFrom(...units), (whole, thousandths, [unit, mib]) => {
        const text = `${whole}.${String(thousandths).padStart(3, "0")}`;
        const sizeMib = parseSizeMib(`${text}${unit}`) ?? Number.NaN;
        const exactThousandths = (BigInt(whole) * 1000n + BigInt(thousandths)) * BigInt(mib);
        expect(BigInt(sizeMib) * 1000n >= exactThousandths).toBe(true);
        expect(BigInt(sizeMib) * 1000n - exactThousandths < 1001n).toBe(true);
      }),
    );
  });

  test("anything answers a size or nothing, and a size parses to itself", () => {
    fc.assert(
      fc.property(fc.oneof(fc.anything(), fc.string(), fc.stringMatching(/^[\d.]{1,8} ?[a-z]{0,3}$/)), (given) => {
        const sizeMib = parseSizeMib(given);
        if (sizeMib === undefined) return;
        expect(Number.isSafeInteger(sizeMib) && sizeMib >= 0).toBe(true);
        expect(parseSizeMib(sizeMib)).toBe(sizeMib);
        expect(parseSizeMib(String(sizeMib))).toBe(sizeMib);
      }),
    );
  });

  test("a disk has one above zero", () => {
    expect(p.diskParams.safeParse({ size: 0 }).success).toBe(false);
    expect(p.diskParams.safeParse({ size: "0g" }).success).toBe(false);
    expect(p.diskParams.parse({ size: "2g" })).toEqual({ size: 2048 });
  });
});

describe("hostile names", () => {
  const LONG_LABELS = `${"x".repeat(63)}.${"y".repeat(64)}`;
  const HOSTILE = [
    "",
    "..",
    ".",
    ".hidden",
    "a..b",
    "a/b",
    "/etc/passwd",
    "../../etc",
    "-rf",
    "--help",
    "a.-rf",
    "a b",
    " a",
    "a ",
    "a\tb",
    "a\nb",
    "a\n",
    "a\u0000b",
    "a\\b",
    "a;b",
    "a|b",
    "a$(id)",
    "a`id`",
    "a'b",
    'a"b',
    "a%00",
    "a*",
    "a?b",
    "a:b",
    "a@b",
    "a#b",
    "ä",
    "аdmin",
    "a\u202eb",
    "a\u200bb",
    "x".repeat(64),
    "x".repeat(300),
    LONG_LABELS,
    Array(60).fill("label").join("."),
    5,
    true,
    [],
    ["web1"],
    {},
  ];

  test.each(HOSTILE)("%j is no host name", (name) => {
    expect(p.hostName.safeParse(name).success).toBe(false);
  });

  /** Names of groups and files are no host names: labels mean nothing in them. */
  const LABEL_FAULTS = new Set<unknown>(["a..b", "a.-rf", "x".repeat(64), LONG_LABELS]);
  test.each(HOSTILE.filter((name) => !LABEL_FAULTS.has(name)))("%j is no group's, network's or file's name", (name) => {
    expect(p.plainName.safeParse(name).success).toBe(false);
    expect(p.fileName.safeParse(name).success).toBe(false);
  });

  test.each(["", "..", "../x", "a/..", "a/../b", "/..", "-rf", "a\u0000", "a\nb"])("%j is no path", (path) => {
    expect(p.path.safeParse(path).success).toBe(false);
  });
  test.each(["a", "a/b", "/srv/ganeti", "..a/b..", "a...b"])("%j is a path", (path) => {
    expect(p.path.parse(path)).toBe(path);
  });

  test.each([
    ["web1", "web1"],
    ["Web1.Example.COM", "web1.example.com"],
    ["web1.example.com.", "web1.example.com"],
    ["web_1.gnt.test", "web_1.gnt.test"],
    ["6a19e7bd-ee52-4c02-b97d-a7104105f1f7", "6a19e7bd-ee52-4c02-b97d-a7104105f1f7"],
    ["x".repeat(63), "x".repeat(63)],
  ])("%j is the host %j", (given, expected) => {
    expect(p.hostName.parse(given)).toBe(expected);
  });

  test("what passes has no way to be a path, an option or a second word", () => {
    const letters = fc.constantFrom(..."abAB09-_./ \u0000\n~*");
    fc.assert(
      fc.property(fc.string({ unit: letters, minLength: 1, maxLength: 12 }), (name) => {
        for (const schema of [p.hostName, p.plainName, p.fileName]) {
          const parsed = schema.safeParse(name);
          if (parsed.success) expect(parsed.data).toMatch(/^[A-Za-z0-9_][A-Za-z0-9_.+-]*$/);
        }
      }),
      { numRuns: 1000 },
    );
  });

  test("every opcode with an instance, node, group or network refuses them", () => {
    const named = /^(instance|node|group|network)_name$|^(new_name|target_node|remote_node|pnode|snode|src_node)$/;
    let looked = 0;
    for (const { params } of OPCODES.values())
      for (const [name, schema] of Object.entries(params).filter(([key]) => named.test(key))) {
        looked += 1;
        for (const hostile of ["..", "a/b", "-rf", "a\u0000b", "a b", "x".repeat(300)])
          expect(schema.safeParse(hostile).success, name).toBe(false);
      }
    expect(looked).toBeGreaterThan(60);
  });
});

describe("objects of parameters", () => {
  test("keys that would reach an object's prototype never arrive", () => {
    for (const text of ['{"__proto__": {"x": 1}}', '{"a": {"__proto__": {"x": 1}}}']) {
      const parsed = p.anyObject.safeParse(JSON.parse(text));
      expect(Object.getPrototypeOf(parsed.data ?? {})).toBe(Object.prototype);
      expect((parsed.data as { x?: number } | undefined)?.x).toBeUndefined();
    }
    const disk = p.diskParams.safeParse(JSON.parse('{"__proto__": {"size": 5}}'));
    expect((disk.data as { size?: number } | undefined)?.size).toBeUndefined();
  });

  test.each(["a b", "", "a/b", "a\u0000", "x".repeat(200)])("the key %j is refused", (key) => {
    expect(p.parameters.safeParse({ [key]: 1 }).success).toBe(false);
    expect(p.diskParams.safeParse({ [key]: "1" }).success).toBe(false);
  });
});

test("parsing what was parsed changes nothing", () => {
  const op = parseOpcode({
    OP_ID: "OP_INSTANCE_SET_PARAMS",
    instance_name: "Web1",
    nics: [["add", { mac: "auto" }]],
    disks: [[1, { size: "2g" }]],
    runtime_mem: "1g",
    hvparams: { usb_devices: "a b" },
    depends: [["-1", []]],
  });
  const wire = wireOpcode(op.declaration, op.op);
  expect(parseOpcode(wire).op).toEqual(op.op);
  expect(op.op).toMatchObject({ nics: [["add", -1, { mac: "auto" }]], disks: [["modify", 1, { size: 2048 }]] });
  const recreate = findOpcode("OP_INSTANCE_RECREATE_DISKS")?.params.disks;
  expect(recreate?.parse(recreate.parse([0, 2]))).toEqual([
    [0, {}],
    [2, {}],
  ]);
});
