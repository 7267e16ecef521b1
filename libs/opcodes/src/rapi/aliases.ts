/** Older names of body keys. */
import { HttpError } from "@gannet/errors";

/**
 * The object with older keys renamed; anything else as it came.
 * @throws HttpError 400 where both names are given
 */
export function applyAliases(given: unknown, aliases: Readonly<Record<string, string>>): unknown {
  if (typeof given !== "object" || given === null || Array.isArray(given)) return given;
  return Object.fromEntries(
    Object.entries(given).map(([key, value]) => {
      const param = Object.hasOwn(aliases, key) ? aliases[key] : undefined;
      if (param === undefined) return [key, value];
      if (Object.hasOwn(given, param))
        throw new HttpError(400, `Parameter '${key}' was renamed to '${param}': give one of them only`);
      return [param, value];
    }),
  );
}
