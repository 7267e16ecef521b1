import type { ParameterType } from "@gannet/objects";
import type { FieldKind } from "../field.ts";

const KINDS: Readonly<Record<ParameterType, FieldKind>> = {
  bool: "bool",
  float: "float",
  int: "number",
  size: "unit",
  string: "other",
  "maybe-string": "other",
};

/** What kind of field shows a parameter of this type. */
export function kindOfParameter(type: ParameterType): FieldKind {
  return KINDS[type];
}
