/** Tags: words that users hang on objects (spec/config.json, `tags`). */
import { OpPrereqError, TagError } from "@gannet/errors";

const TAG = /^[\w.+*/:@-]+$/;
export const MAX_TAG_LENGTH = 128;
export const MAX_TAGS = 4096;

/** @throws TagError when the tag breaks the rules */
export function checkTag(tag: string): void {
  if (tag.length > MAX_TAG_LENGTH)
    throw new TagError(`Tag ${JSON.stringify(`${tag.slice(0, 40)}…`)} is longer than ${MAX_TAG_LENGTH} characters`);
  if (!TAG.test(tag))
    throw new TagError(`Invalid tag ${JSON.stringify(tag)}: use letters, digits and any of _ . + * / : @ -`);
}

/**
 * The tags, sorted, with more of them; those that are there already stay.
 * @throws TagError when one breaks the rules or there would be too many
 */
export function addTags(current: readonly string[], added: readonly string[]): string[] {
  for (const tag of added) checkTag(tag);
  const tags = [...new Set([...current, ...added])].sort();
  if (tags.length > MAX_TAGS) throw new TagError(`An object has at most ${MAX_TAGS} tags`);
  return tags;
}

/**
 * The tags, sorted, without some of them.
 * @throws TagError when one breaks the rules; OpPrereqError `unknown_entity` when one is not there
 */
export function removeTags(current: readonly string[], removed: readonly string[]): string[] {
  for (const tag of removed) checkTag(tag);
  const missing = removed.filter((tag) => !current.includes(tag));
  if (missing.length > 0) throw new OpPrereqError(`Tags not found: ${missing.join(", ")}`, "unknown_entity");
  return current.filter((tag) => !removed.includes(tag)).sort();
}
