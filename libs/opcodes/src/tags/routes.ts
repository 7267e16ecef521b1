/** The tag resources, one for each kind of object that has tags. */
import { HttpError } from "@gannet/errors";
import { z } from "zod";
import type { JobRoute, QueryArguments, RawParams, RouteInput } from "../define.ts";
import * as p from "../params.ts";
import type { put } from "../route.ts";

/** `?tag=a&tag=b` */
export const TAG_ARGUMENT: QueryArguments = { tag: { type: "repeated", param: "tags", default: [] } };

/** One route for each kind of object. */
export function tagRoutes(method: typeof put, options: NonNullable<Parameters<typeof put>[1]>): readonly JobRoute[] {
  return [
    method("/2/tags", { ...options, fixed: { kind: "cluster" } }),
    ...(["instance", "network", "node"] as const).map((kind) =>
      method(`/2/${kind}s/:${kind}_name/tags`, {
        ...options,
        fixed: { kind },
        pathParams: { [`${kind}_name`]: "name" },
      }),
    ),
    method("/2/groups/:group_name/tags", {
      ...options,
      fixed: { kind: "nodegroup" },
      pathParams: { group_name: "name" },
    }),
  ];
}

/**
 * Tags of the query and of the body: the documents want them in the body, as a list, 3.x reads the query, and
 * its client sends both.
 */
export function withBodyTags({ params, body }: RouteInput): RawParams {
  return { ...params, tags: [...new Set([...(params.tags as readonly unknown[]), ...tagsOf(body)])] };
}

/** What withBodyTags reads. */
export const tagsBody = z.union([z.array(p.tag), z.strictObject({ tags: p.list(p.tag, "The tags.") })]).optional();

/** All tags in the query. */
export function asQueryTags(params: RawParams): RouteInput {
  return { params, body: null };
}

function tagsOf(body: unknown): readonly unknown[] {
  if (body === null) return [];
  const tags = Array.isArray(body) ? body : onlyTagsKey(body);
  if (Array.isArray(tags)) return tags;
  throw new HttpError(400, "The body must be a list of tags");
}

function onlyTagsKey(body: unknown): unknown {
  if (typeof body !== "object" || body === null) return undefined;
  const { tags = [], ...rest } = body as RawParams;
  return Object.keys(rest).length === 0 ? tags : undefined;
}
