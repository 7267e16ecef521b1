/** All opcodes, and what is done with any of them: find, parse, summarise, redact, describe. */
import { OpPrereqError } from "@gannet/errors";
import { z } from "zod";
import * as declarations from "./declarations.ts";
import type { Op, OpcodeDeclaration, RawParams, WireOpcode } from "./define.ts";
import { check } from "./explain.ts";
import { REDACTED_PARAMS } from "./params/secrets.ts";

/** Each opcode's declaration by its id, in alphabetical order. */
export const OPCODES: ReadonlyMap<string, OpcodeDeclaration> = new Map(
  Object.values<OpcodeDeclaration>(declarations)
    .sort((a, b) => (a.id < b.id ? -1 : 1))
    .map((declaration) => [declaration.id, declaration]),
);

/** Opcodes that Ganeti once had, each with the last release that knew it and what to use now. */
const REMOVED: ReadonlyMap<string, { readonly last: string; readonly instead: string }> = new Map([
  ["OP_BACKUP_QUERY", { last: "2.10", instead: "OP_QUERY of export" }],
  ["OP_GROUP_QUERY", { last: "2.10", instead: "OP_QUERY of group" }],
  ["OP_INSTANCE_QUERY", { last: "2.10", instead: "OP_QUERY of instance" }],
  ["OP_NETWORK_QUERY", { last: "2.10", instead: "OP_QUERY of network" }],
  ["OP_NODE_EVAC_STRATEGY", { last: "2.4", instead: "OP_NODE_EVACUATE" }],
  ["OP_NODE_QUERY", { last: "2.10", instead: "OP_QUERY of node" }],
]);

/** The declaration of an opcode, or undefined where there is none of this id. */
export function findOpcode(id: string): OpcodeDeclaration | undefined {
  return OPCODES.get(id);
}

/** An opcode whose parameters are valid and complete. */
export interface ParsedOpcode {
  readonly declaration: OpcodeDeclaration;
  readonly op: Op<OpcodeDeclaration>;
}

/**
 * Validate an opcode as jobs carry it and fill in its defaults. Parsing what {@link wireOpcode} makes of the
 * answer gives the same again.
 * @throws OpPrereqError wrong_input, in one line that names the parameter
 */
export function parseOpcode(json: unknown): ParsedOpcode {
  const { OP_ID: id, ...params } = asObject(json);
  const declaration = typeof id === "string" ? findOpcode(id) : undefined;
  if (declaration === undefined) throw new OpPrereqError(unknownOpcode(id), "wrong_input");
  const checked = check(declaration.schema, params, declaration.id);
  if ("fault" in checked) throw new OpPrereqError(checked.fault, "wrong_input");
  return { declaration, op: checked.value };
}

/** An opcode's parameters as jobs carry them. */
export function wireOpcode(declaration: OpcodeDeclaration, op: object): WireOpcode {
  return { OP_ID: declaration.id, ...op };
}

function asObject(json: unknown): RawParams {
  if (typeof json === "object" && json !== null && !Array.isArray(json)) return json as RawParams;
  throw new OpPrereqError("An opcode must be an object with the key OP_ID", "wrong_input");
}

function unknownOpcode(id: unknown): string {
  if (id === undefined) return "An opcode must have the key OP_ID";
  const shown = JSON.stringify(id).slice(0, 80);
  const removed = typeof id === "string" ? REMOVED.get(id) : undefined;
  if (removed === undefined) return `OP_ID ${shown} is an unknown opcode`;
  return `OP_ID ${shown} is an unknown opcode: it was removed after Ganeti ${removed.last}; use ${removed.instead}`;
}

/** The line a job shows for an opcode: `INSTANCE_STARTUP(web1.example.com)` (spec/opcodes.json, `rules`). */
export function summaryOf(declaration: OpcodeDeclaration, op: object): string {
  const name = declaration.id.replace("OP_", "");
  if (declaration.summary === null) return name;
  const value = (op as RawParams)[declaration.summary];
  return `${name}(${Array.isArray(value) ? value.join(",") : String(value ?? "None")})`;
}

/** What stands for a secret wherever an opcode is shown. */
export const REDACTED = "<redacted>";

/** An opcode as job queries and logs may show it: the keys of private and secret parameters, not their values. */
export function redact(op: WireOpcode): WireOpcode {
  return withoutSecrets(op) as WireOpcode;
}

function withoutSecrets(value: unknown): unknown {
  return mapEntries(value, withoutSecrets, (key, entry) =>
    REDACTED_PARAMS.has(key) ? blackedOut(entry) : withoutSecrets(entry),
  );
}

/** Every value in place of which {@link REDACTED} stands; null and the names of keys tell nothing. */
function blackedOut(value: unknown): unknown {
  if (value === null) return null;
  if (typeof value !== "object") return REDACTED;
  return mapEntries(value, blackedOut, (_key, entry) => blackedOut(entry));
}

function mapEntries(
  value: unknown,
  ofItem: (item: unknown) => unknown,
  ofEntry: (key: string, entry: unknown) => unknown,
): unknown {
  if (Array.isArray(value)) return value.map(ofItem);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, ofEntry(key, entry)]));
}

/** The JSON Schema of an opcode's parameters as a client may give them. */
export function jsonSchemaOf(declaration: OpcodeDeclaration): z.core.JSONSchema.BaseSchema {
  return z.toJSONSchema(declaration.schema, { io: "input" });
}
