/** How declarations write their routes: `put("/2/instances/:instance_name/startup", { query: { force: flag } })`. */
import type { HttpMethod, JobRoute, QueryArgument } from "./define.ts";

export const flag = { type: "flag" } as const satisfies QueryArgument;

type RouteOptions = Partial<Omit<JobRoute, "method" | "path">>;

/**
 * Unless the options say otherwise a route needs write access, its body holds parameters, and `dry_run` is
 * one of them.
 */
function route(method: HttpMethod, path: string, options: RouteOptions): JobRoute {
  const body = options.body ?? "params";
  return {
    method,
    path,
    access: "write",
    dryRun: body === "params" ? "body" : "no",
    handler: handlerOf(path),
    ...options,
    body,
  };
}

export const get = (path: string, options: RouteOptions = {}) => route("GET", path, options);
export const put = (path: string, options: RouteOptions = {}) => route("PUT", path, options);
export const post = (path: string, options: RouteOptions = {}) => route("POST", path, options);
export const del = (path: string, options: RouteOptions = {}) => route("DELETE", path, options);

/** `/2/instances/:instance_name/disk/:disk_index/grow` is `instances_name_disk_grow`. */
function handlerOf(path: string): string {
  return path
    .replace("/2/", "")
    .replaceAll(/\/:[a-z]+_name/g, "/name")
    .replaceAll(/\/:[a-z_]+/g, "")
    .replaceAll(/[/-]/g, "_");
}
