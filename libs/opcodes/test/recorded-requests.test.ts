import { readFileSync } from "node:fs";
import { HttpError } from "@gannet/errors";
import { describe, expect, test } from "vitest";
import { findOpcode, parseOpcode, summaryOf, wireOpcode } from "../src/index.ts";
import { submit } from "./api-request.ts";

/** A request to a real Ganeti 3.0.2, what it answered, and of its job the opcodes without what is default. */
interface Recorded {
  readonly name: string;
  readonly method: string;
  readonly path: string;
  readonly status: 200 | 400;
  readonly body?: unknown;
  readonly ops?: readonly Readonly<Record<string, unknown>>[];
  readonly summary?: readonly string[];
}

const RECORDED = readFileSync(new URL("fixtures/recorded-requests.jsonl", import.meta.url), "utf8")
  .trim()
  .split("\n")
  .map((line) => JSON.parse(line) as Recorded);

/** What Ganeti takes and we refuse (spec/README.md): unknown keys, and keys that the path gives. */
const REFUSED_BY_US = new Set(["err-static-param-overwrite", "err-OP_ID-in-body"]);
/** Ganeti overlooks tags in a body; we take them. */
const TAGS_IN_BODY = "tags-put-body";

const accepted = RECORDED.filter(({ name, status }) => status === 200 && !REFUSED_BY_US.has(name));
const refused = RECORDED.filter(({ name, status }) => status === 400 || REFUSED_BY_US.has(name));

test("the recordings are there", () => {
  expect(accepted.length).toBeGreaterThan(150);
  expect(refused.length).toBeGreaterThan(45);
});

describe("requests that Ganeti took", () => {
  test.each(accepted)("$name", ({ name, method, path, body, ops, summary }) => {
    const { opcodes } = submit(method, path, body);
    if (ops !== undefined && name !== TAGS_IN_BODY) expect(opcodes).toMatchObject(ops);
    if (summary !== undefined)
      expect(opcodes.map((op) => summaryOf(findOpcode(op.OP_ID) ?? expect.fail(op.OP_ID), op))).toEqual(summary);
    for (const op of opcodes) {
      const again = parseOpcode(JSON.parse(JSON.stringify(op)));
      expect(wireOpcode(again.declaration, again.op)).toEqual(op);
    }
  });
});

describe("requests that Ganeti refused", () => {
  test.each(refused)("$name", ({ method, path, body }) => {
    const error = caught(() => submit(method, path, body));
    expect(error).toBeInstanceOf(HttpError);
    expect((error as HttpError).status).toBe(400);
    expect((error as HttpError).message).toMatch(/^[A-Z][^\n]{10,300}$/);
  });
});

function caught(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    return error;
  }
  return undefined;
}
