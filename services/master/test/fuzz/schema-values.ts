/** Values that a declared parameter may take: from its zod schema, and from what its name says. */
import fc from "fast-check";
import { z } from "zod";
import { keysFor, wordsFor } from "./words.ts";

/** How often a parameter that may be absent is given: one in so many. */
const SELDOM = 9;

/** Values of the schema, nearly all of them valid as far as a schema can tell. */
export function valuesOf(schema: z.core.$ZodType, name: string): fc.Arbitrary<unknown> {
  const { def } = (schema as z.core.$ZodTypes)._zod;
  switch (def.type) {
    case "default":
    case "optional":
      return valuesOf(def.innerType, name);
    case "nullable":
      return mostly(valuesOf(def.innerType, name), fc.constant(null));
    case "pipe":
      return valuesOf((def.in as z.core.$ZodTypes)._zod.def.type === "transform" ? def.out : def.in, name);
    case "union":
      return fc.oneof(...def.options.map((option) => valuesOf(option, name)));
    case "object":
      return objectOf(def.shape);
    case "record":
      return fc.dictionary(keyOf(def.keyType, name), valuesOf(def.valueType, name), { maxKeys: 3 });
    case "array":
      return fc.array(valuesOf(def.element, name), { maxLength: 3 });
    case "tuple":
      return fc.tuple(...def.items.map((item) => valuesOf(item, name)));
    case "enum":
      return fc.constantFrom(...Object.values(def.entries));
    case "literal":
      return fc.constantFrom(...def.values);
    case "boolean":
      return fc.boolean();
    case "null":
      return fc.constant(null);
    case "number":
      return fc.oneof(
        { weight: 6, arbitrary: fc.integer({ min: 0, max: 4 }) },
        { weight: 2, arbitrary: fc.constantFrom(...numbersFor(name)) },
        { weight: 1, arbitrary: fc.integer() },
      );
    case "string":
      return fc.constantFrom(...wordsFor(name).filter((word) => typeof word === "string"));
    default:
      return fc.oneof(fc.constantFrom(...wordsFor(name)), fc.jsonValue({ maxDepth: 2 }));
  }
}

/** An object of some of its properties: those that must be there, and a few of the others. */
export function objectOf(shape: Readonly<Record<string, z.core.$ZodType>>): fc.Arbitrary<Record<string, unknown>> {
  const entries = Object.entries(shape).map(([name, schema]) => {
    const given = valuesOf(schema, name).map((value) => [[name, value]] as const);
    return isRequired(schema) ? given : fc.oneof({ weight: SELDOM, arbitrary: fc.constant([]) }, given);
  });
  return fc.tuple(...entries).map((present) => Object.fromEntries(present.flat()));
}

function isRequired(schema: z.core.$ZodType): boolean {
  return !z.safeParse(schema, undefined).success;
}

function keyOf(schema: z.core.$ZodType, name: string): fc.Arbitrary<string> {
  const { def } = (schema as z.core.$ZodTypes)._zod;
  if (def.type === "enum") return fc.constantFrom(...Object.values(def.entries).map(String));
  return fc.constantFrom(...keysFor(name));
}

function numbersFor(name: string): readonly unknown[] {
  const numbers = wordsFor(name).filter((word) => typeof word === "number");
  return numbers.length > 0 ? numbers : [5, 15, 16, 60, 100];
}

/** The first, but for one in ten. */
export function mostly<A, B>(usual: fc.Arbitrary<A>, odd: fc.Arbitrary<B>): fc.Arbitrary<A | B> {
  return fc.oneof({ weight: 9, arbitrary: usual }, { weight: 1, arbitrary: odd });
}
