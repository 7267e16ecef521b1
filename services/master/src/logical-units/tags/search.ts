import { type ConfigView, TAG_KINDS, type TagKind } from "@gannet/objects";
import { TagsSearch } from "@gannet/opcodes";
import { compileRegex, niceSort } from "@gannet/query";
import { implement } from "../../executor/logical-unit.ts";

interface Tagged {
  readonly name: string;
  readonly tags: readonly string[];
}

/** Where the objects of a kind stand in the answer (spec/opcodes.json, OP_TAGS_SEARCH), and which there are. */
const KINDS: Readonly<
  Record<TagKind, { readonly path: string; readonly all: (view: ConfigView) => Iterable<Tagged> }>
> = {
  cluster: { path: "/cluster", all: ({ cluster }) => [{ name: "", tags: cluster.tags }] },
  instance: { path: "/instances/", all: ({ instances }) => instances.values() },
  network: { path: "/network/", all: ({ networks }) => networks.values() },
  node: { path: "/nodes/", all: ({ nodes }) => nodes.values() },
  nodegroup: { path: "/nodegroup/", all: ({ groups }) => groups.values() },
};

/** `[path, tag]` of every tag that matches anywhere, by kind, then by name and tag. */
export const tagsSearch = implement(TagsSearch, {
  locks: () => [],

  checkPrereq: (_ctx, op) => compileRegex(op.pattern),

  async exec(ctx, _op, matches) {
    return TAG_KINDS.flatMap((kind) => {
      const { path, all } = KINDS[kind];
      return niceSort(all(ctx.config), ({ name }) => name).flatMap(({ name, tags }) =>
        tags.filter(matches).map((tag): [string, string] => [`${path}${name}`, tag]),
      );
    });
  },
});
