/**
 * The reusable parameters that opcodes are made of. Declarations use them as `p.*`:
 *
 *     import * as p from "../params.ts";
 *
 * A schema's own error text is a predicate ("must be …"): what reads it puts the parameter's name before it.
 */
export * from "./params/addresses.ts";
export * from "./params/basic.ts";
export * from "./params/devices.ts";
export * from "./params/fields.ts";
export * from "./params/names.ts";
export * from "./params/secrets.ts";
export * from "./params/sizes.ts";
