/** Opcodes that take a list of names, through routes whose path has one. */
import type { RawParams, RouteInput } from "../define.ts";

/** The list's one name under the path's name for it; undefined for none or several. */
export function oneNameOf(list: string, pathName: string): (params: RawParams) => RouteInput | undefined {
  return ({ [list]: names, ...rest }) =>
    Array.isArray(names) && names.length === 1 ? { params: { ...rest, [pathName]: names[0] }, body: null } : undefined;
}
