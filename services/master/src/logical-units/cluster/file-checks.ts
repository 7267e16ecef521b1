/** Files that are to be the same on all nodes. Pure. */
import type { NodeAnswers, NodeEvidence } from "./node-evidence.ts";
import type { Check } from "./verification-report.ts";

type Answered = Extract<NodeEvidence, { failure: null }>;

/**
 * Each file is on all nodes that were asked for it, with one content, or on none. The first content that is met stands
 * for what it should be.
 */
export function fileChecks(answered: readonly Answered[]): readonly Check[] {
  const files = new Map<string, Map<string, string | undefined>>();
  for (const { node, verified, filesAsked } of answered)
    for (const [file, digest] of digestsOf(verified, filesAsked))
      files.set(file, (files.get(file) ?? new Map()).set(node.name, digest));
  return [...files].flatMap(([file, digests]) => [presenceCheck(file, digests), contentCheck(file, digests)]);
}

/** What the node was asked for, and those of its own files that it tells of. */
function digestsOf(
  { digests, siteFiles }: NodeAnswers["verified"],
  asked: readonly string[],
): readonly (readonly [file: string, digest: string | undefined])[] {
  const found = new Map(digests.map(({ path, sha256 }) => [path, sha256]));
  return [
    ...asked.map((file) => [file, found.get(file)] as const),
    ...siteFiles.map(({ path, sha256 }) => [path, sha256 === "" ? undefined : sha256] as const),
  ];
}

type Digests = ReadonlyMap<string, string | undefined>;

function presenceCheck(file: string, digests: Digests): Check {
  const missing = [...digests].flatMap(([node, digest]) => (digest === undefined ? [node] : []));
  return {
    ...{ code: "ECLUSTERFILECHECK", item: "" },
    ok: missing.length === 0 || missing.length === digests.size,
    text: `File ${file} is optional, but it must exist on all or no nodes (not found on ${missing.join(", ")})`,
  };
}

function contentCheck(file: string, digests: Digests): Check {
  const variants = new Map<string, string[]>();
  for (const [node, digest] of digests)
    if (digest !== undefined) variants.set(digest, [...(variants.get(digest) ?? []), node]);
  const told = [...variants.values()].map((nodes, index) => `variant ${index + 1} on ${nodes.join(", ")}`);
  return {
    ...{ code: "ECLUSTERFILECHECK", item: "" },
    ok: variants.size <= 1,
    text: `File ${file} found with ${variants.size} different checksums (${told.join("; ")})`,
  };
}
