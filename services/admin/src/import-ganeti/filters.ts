/** Job filters. */
import type { FilterRule } from "@gannet/objects";
import { NotTranslatable, shown } from "./findings.ts";
import type { JsonObject } from "./json-object.ts";

/** @param ctime - filters of Ganeti have no times; the configuration's are taken. @throws NotTranslatable */
export function translateFilter(object: JsonObject, uuid: string, ctime: number): FilterRule {
  const action = object.raw("action");
  if (typeof action !== "string" && !Array.isArray(action))
    throw new NotTranslatable(object.at("action"), `${shown(action)} is no action`);
  object.ignore("uuid");
  return {
    ctime,
    mtime: ctime,
    serialNo: 1,
    uuid,
    watermark: object.int("watermark"),
    priority: object.int("priority"),
    predicates: [...object.list("predicates")],
    action,
    reasonTrail: object.list("reason_trail").map((entry, index) => {
      const [source, reason, at] = Array.isArray(entry) ? entry : [];
      if (typeof source === "string" && typeof reason === "string" && typeof at === "number")
        return [source, reason, at];
      throw new NotTranslatable(
        [...object.at("reason_trail"), index],
        `is ${shown(entry)}, not [source, reason, time]`,
      );
    }),
  };
}
