/**
 * What a cluster's tags say about placement (hbal(1), "exclusion tags", "migration tags", "location tags", "desired
 * location tags"). A tag `htools:KIND:PREFIX` makes every tag that begins with `PREFIX:` one of that kind.
 */

/** Node tags by which the allocator knows what may go where. */
export interface NodeTagSets {
  /** Common causes of failure, such as one power supply. */
  readonly locations: readonly string[];
  /** Of which a migration's target must have all that its source has. */
  readonly migration: readonly string[];
  /** Migration tags of sources whose guests this node can take. */
  readonly receives: ReadonlySet<string>;
}

/** Instance tags by which the allocator knows what it should not share a node with, and where it would like to be. */
export interface InstanceTagSets {
  /** No two instances with the same one of these have the same primary node. */
  readonly exclusion: readonly string[];
  /** Locations in which it is wanted. */
  readonly desired: readonly string[];
}

/** The tag rules of one cluster. */
export interface SiteTags {
  ofNode(tags: readonly string[]): NodeTagSets;
  ofInstance(tags: readonly string[]): InstanceTagSets;
}

export function siteTags(clusterTags: readonly string[]): SiteTags {
  const exclusion = prefixes(clusterTags, "htools:iextags:");
  const migration = prefixes(clusterTags, "htools:migration:");
  const locations = prefixes(clusterTags, "htools:nlocation:");
  const desired = prefixes(clusterTags, "htools:desiredlocation:");
  // Such a rule may also name one location.
  const wholeDesired = suffixes(clusterTags, "htools:desiredlocation:");
  const allowed = suffixes(clusterTags, "htools:allowmigration:").flatMap((rule) => {
    const [source, target, ...rest] = rule.split("::");
    return source && target && rest.length === 0 ? [{ source, target }] : [];
  });
  return {
    ofNode: (tags) => {
      const own = startingWith(tags, migration);
      const gained = allowed.filter(({ target }) => own.includes(target)).map(({ source }) => source);
      return { locations: startingWith(tags, locations), migration: own, receives: new Set([...own, ...gained]) };
    },
    ofInstance: (tags) => ({
      exclusion: startingWith(tags, exclusion),
      desired: tags.filter((tag) => wholeDesired.includes(tag) || startingWith([tag], desired).length > 0),
    }),
  };
}

/** Whether guests of one node may migrate to another. */
export function migrates(source: Pick<NodeTagSets, "migration">, target: Pick<NodeTagSets, "receives">): boolean {
  return source.migration.every((tag) => target.receives.has(tag));
}

function suffixes(tags: readonly string[], prefix: string): readonly string[] {
  return tags.filter((tag) => tag.startsWith(prefix)).map((tag) => tag.slice(prefix.length));
}

function prefixes(tags: readonly string[], prefix: string): readonly string[] {
  return suffixes(tags, prefix)
    .filter((suffix) => suffix !== "")
    .map((suffix) => `${suffix}:`);
}

function startingWith(tags: readonly string[], starts: readonly string[]): readonly string[] {
  return starts.length === 0 ? [] : tags.filter((tag) => starts.some((start) => tag.startsWith(start)));
}
