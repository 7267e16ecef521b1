/** What only several nodes together can tell of a group. Pure. */
import {
  type ConfigView,
  filledBeparams,
  type Instance,
  type Node,
  type NodeGroup,
  type NodeUuid,
} from "@gannet/objects";
import type { OsDefinition } from "@gannet/rpc";
import type { NodeAnswers, NodeEvidence } from "./node-evidence.ts";
import type { Check } from "./verification-report.ts";

type Answered = Extract<NodeEvidence, { failure: null }>;

/** Physical volumes of a group differ by no more than the rounding of partitions. */
const LARGEST_PV_DIFFERENCE = 1.01;
const EXCLUSION_TAG = "htools:iextags:";

/**
 * A node that fails must leave enough memory where its instances would go: on each node, for each other one
 * (spec/opcodes.json, `nplusone_mem`).
 */
export function redundancyChecks(view: ConfigView, answered: readonly Answered[]): readonly Check[] {
  return answered.flatMap(({ node, state }): readonly Check[] => {
    const needs = new Map<NodeUuid, number>();
    for (const instance of view.secondaryInstances(node.uuid)) {
      const { minmem, auto_balance: balanced } = filledBeparams(view.cluster, instance);
      if (balanced !== true) continue;
      needs.set(instance.primaryNode, (needs.get(instance.primaryNode) ?? 0) + Number(minmem));
    }
    return [...needs].map(([primary, neededMib]) => ({
      code: "ENODEN1",
      item: node.name,
      ok: neededMib <= state.memoryFreeMib,
      text:
        `not enough memory to accomodate instance failovers should node ${view.nodes.get(primary)?.name ?? primary} ` +
        `fail (${neededMib}MiB needed, ${state.memoryFreeMib}MiB available)`,
    }));
  });
}

/** Nodes that have other DRBD versions than most: the first that answered stands for them. */
export function drbdVersionChecks(answered: readonly Answered[]): readonly Check[] {
  const versions = answered.flatMap(({ node, drbd }) =>
    drbd === null || drbd.problem !== "" ? [] : [{ node, version: drbd.version }],
  );
  const reference = versions[0];
  return versions.map(({ node, version }) => ({
    code: "ENODEDRBDVERSION",
    item: node.name,
    ok: version === reference?.version,
    text: `DRBD version mismatch: ${version}, and ${reference?.version} on ${reference?.node.name}`,
  }));
}

/** OS definitions that are broken, that only some of the nodes have, or that differ from the first node's. */
export function osChecks(
  nodes: readonly { readonly node: Node; readonly os: readonly OsDefinition[] }[],
): readonly Check[] {
  const [reference] = nodes;
  return nodes.flatMap(({ node, os }): readonly Check[] => {
    const check = (ok: boolean, text: string): Check => ({ code: "ENODEOS", item: node.name, ok, text });
    const names = new Set(os.map(({ name }) => name));
    const missing = (reference?.os ?? []).map(({ name }) => name).filter((name) => !names.has(name));
    const extra = [...names].filter((name) => !reference?.os.some((each) => each.name === name));
    return [
      ...os
        .filter(({ valid }) => !valid)
        .map(({ name, path, problem }) => check(false, `Invalid OS ${name} (located at ${path}): ${problem}`)),
      check(
        missing.length === 0,
        `OSes present on reference node ${reference?.node.name} but missing on this node: ${missing.join(", ")}`,
      ),
      ...extra.map((name) => check(false, `Extra OS ${name} not present on reference node (${reference?.node.name})`)),
      ...os.flatMap((own) => {
        const same = reference?.os.find(({ name }) => name === own.name);
        if (same === undefined || !own.valid || !same.valid) return [];
        return OS_ASPECTS.map(([what, of]) => {
          const [theirs, ours] = [of(same), of(own)];
          const text =
            `OS ${what} for ${own.name} differs from reference node ${reference?.node.name}: ` +
            `[${theirs.join(", ")}] vs. [${ours.join(", ")}]`;
          return check(theirs.join() === ours.join(), text);
        });
      }),
    ];
  });
}

/** What must be the same of a definition on all nodes. */
const OS_ASPECTS: readonly (readonly [what: string, of: (os: OsDefinition) => readonly string[]])[] = [
  ["API version", ({ apiVersions }) => apiVersions.map(String).sort()],
  ["variants list", ({ variants }) => variants.toSorted()],
  ["parameters", ({ parameters }) => parameters.map(({ name }) => name).sort()],
];

/** Where disks take whole physical volumes, these must be alike. */
export function physicalVolumeCheck({ name }: NodeGroup, answered: readonly Answered[]): readonly Check[] {
  const sizes = answered
    .flatMap(({ node, physicalVolumes }) =>
      (physicalVolumes ?? []).map(({ sizeMib }: NonNullable<NodeAnswers["physicalVolumes"]>[number]) => ({
        node: node.name,
        sizeMib,
      })),
    )
    .sort((a, b) => a.sizeMib - b.sizeMib);
  const [smallest, largest] = [sizes[0], sizes.at(-1)];
  if (smallest === undefined || largest === undefined) return [];
  return [
    {
      code: "EGROUPDIFFERENTPVSIZE",
      item: name,
      ok: largest.sizeMib <= smallest.sizeMib * LARGEST_PV_DIFFERENCE,
      text:
        `PV sizes differ too much in the group; smallest (${smallest.sizeMib} MB) is on ${smallest.node}, ` +
        `biggest (${largest.sizeMib} MB) is on ${largest.node}`,
    },
  ];
}

/** Instances that must not be on one node together, and are (spec/os-iallocator-hooks.json, exclusion tags). */
export function exclusionTagChecks(view: ConfigView, nodes: readonly Node[]): readonly Check[] {
  const prefixes = view.cluster.tags
    .filter((tag) => tag.startsWith(EXCLUSION_TAG))
    .map((tag) => `${tag.slice(EXCLUSION_TAG.length)}:`);
  if (prefixes.length === 0) return [];
  return nodes.flatMap((node) => {
    const byTag = new Map<string, Instance[]>();
    for (const instance of view.primaryInstances(node.uuid))
      for (const tag of instance.tags.filter((each) => prefixes.some((prefix) => each.startsWith(prefix))))
        byTag.set(tag, [...(byTag.get(tag) ?? []), instance]);
    return [...byTag].map(([tag, instances]): Check => {
      const names = instances.map(({ name }) => name).join(", ");
      return {
        code: "EEXTAGS",
        item: "",
        ok: instances.length <= 1,
        text: `Tag conflict between instances on node ${node.name}: ${names} all have the tag ${tag}`,
      };
    });
  });
}

/** Guests that the cluster knows nothing of. */
export function unknownGuestChecks(view: ConfigView, node: Node, guests: Iterable<string>): readonly Check[] {
  return [...guests]
    .filter((name) => view.findInstance(name)?.name !== name)
    .sort()
    .map((name) => ({
      code: "ENODEORPHANINSTANCE",
      item: node.name,
      ok: false,
      text: `instance ${name} on node ${node.name} should not exist`,
    }));
}
