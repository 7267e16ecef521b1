/** Names of OS definitions: `name`, or `name+variant` (spec/os-iallocator-hooks.json, `os_interface.naming`). */
import { OpPrereqError } from "@gannet/errors";

export interface OsName {
  readonly name: string;
  readonly variant: string | undefined;
}

/** They become folders, log files and values that scripts use in paths, so nothing in them may lead anywhere. */
const PART = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$/;

export function isOsNamePart(text: string): boolean {
  return PART.test(text);
}

/** @throws OpPrereqError (wrong_input) */
export function parseOsName(text: string): OsName {
  const plus = text.indexOf("+");
  const name = plus < 0 ? text : text.slice(0, plus);
  const variant = plus < 0 ? undefined : text.slice(plus + 1);
  if (!isOsNamePart(name) || (variant !== undefined && !isOsNamePart(variant)))
    throw new OpPrereqError(
      `${JSON.stringify(text.slice(0, 200))} is not the name of an OS: that is name or name+variant, each of letters, digits, ".", "_" and "-"`,
      "wrong_input",
    );
  return { name, variant };
}
