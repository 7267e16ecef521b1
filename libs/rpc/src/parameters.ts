/** Parameters between the cluster model's plain values and the wire's tagged ones. */
import type { ParameterValue } from "./generated/gannet/node/v1/common.ts";

/** As the cluster model has them (`Parameters` of @gannet/objects). */
type PlainParameters = Readonly<Record<string, string | number | boolean | null>>;

export function encodeParameters(parameters: PlainParameters): Record<string, ParameterValue> {
  return Object.fromEntries(Object.entries(parameters).map(([name, value]) => [name, encode(value)]));
}

export function decodeParameters(parameters: Readonly<Record<string, ParameterValue>>): PlainParameters {
  return Object.fromEntries(Object.entries(parameters).map(([name, { value }]) => [name, value?.value ?? null]));
}

function encode(value: string | number | boolean | null): ParameterValue {
  switch (typeof value) {
    case "string":
      return { value: { $case: "text", value } };
    case "boolean":
      return { value: { $case: "flag", value } };
    case "number":
      return { value: { $case: Number.isSafeInteger(value) ? "integer" : "number", value } };
    default:
      return { value: undefined };
  }
}
