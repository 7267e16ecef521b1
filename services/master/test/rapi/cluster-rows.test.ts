/** The cached lists always say what lists built from nothing would say. */
import { type ConfigChange, configViewOf, type MemoryConfigView } from "@gannet/config-store";
import type { ConfigView, Disk, Instance, Network, NetworkUuid, NodeUuid } from "@gannet/objects";
import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { MemoryLiveState } from "../../src/live-state/live-state.ts";
import { ClusterRows } from "../../src/rapi/cluster-rows.ts";
import {
  diskRow,
  guest,
  instanceRow,
  NODE1,
  NODE2,
  NODE10,
  nodeRow,
  nodeState,
  smallCluster,
  snapshot,
  uuidOf,
} from "./cluster-fixture.ts";

/** The configuration as the store shows it, without Redis: what is committed is there at once. */
class MemoryStore {
  view: MemoryConfigView = configViewOf(smallCluster());
  readonly #listeners = new Set<(view: ConfigView, changes: readonly ConfigChange[]) => void>();

  onChange(listener: (view: ConfigView, changes: readonly ConfigChange[]) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  commit(changes: readonly ConfigChange[]): void {
    this.view = this.view.with(changes, this.view.serial + 1);
    for (const listener of this.#listeners) listener(this.view, changes);
  }
}

interface Subject {
  readonly store: MemoryStore;
  readonly live: MemoryLiveState;
}

type Step = (subject: Subject) => void;

const NAMES = ["inst1.gnt.test", "inst5.gnt.test", "a.gnt.test", "b.gnt.test"];
const NODES = [NODE1, NODE2, NODE10];
const aName = fc.constantFrom(...NAMES);
const aNode = fc.constantFrom(...NODES);

function instanceOf({ store }: Subject, name: string): Instance | undefined {
  return store.view.findInstance(name);
}

function change(subject: Subject, name: string, more: Partial<Instance>): void {
  const present = instanceOf(subject, name);
  if (present !== undefined) subject.store.commit([{ kind: "instance", put: { ...present, ...more } }]);
}

const steps: readonly fc.Arbitrary<Step>[] = [
  // Instances come with a disk that has a copy on a second node, move, are renamed, tagged, and go with their disks.
  fc.tuple(aName, aNode, aNode).map(
    ([name, primary, secondary]): Step =>
      (subject) => {
        const nodes = [uuidOf<NodeUuid>(primary), uuidOf<NodeUuid>(secondary)];
        const disk = diskRow(`disk of ${name}`, { nodes });
        subject.store.commit([
          { kind: "disk", put: disk },
          { kind: "instance", put: instanceRow(name, { primaryNode: uuidOf(primary), disks: [disk.uuid] }) },
        ]);
      },
  ),
  fc.tuple(aName, aNode).map(
    ([name, node]): Step =>
      (subject) =>
        change(subject, name, { primaryNode: uuidOf(node) }),
  ),
  fc.tuple(aName, fc.integer({ min: 0, max: 99 })).map(
    ([name, n]): Step =>
      (subject) =>
        change(subject, name, { name: `renamed${n}.gnt.test`, uuid: uuidOf(name) }),
  ),
  fc.tuple(aName, fc.string()).map(
    ([name, tag]): Step =>
      (subject) =>
        change(subject, name, { tags: [tag] }),
  ),
  aName.map(
    (name): Step =>
      (subject) => {
        const present = instanceOf(subject, name);
        if (present === undefined) return;
        const disks = subject.store.view
          .disksOf(present)
          .map((remove: Disk): ConfigChange => ({ kind: "disk", remove }));
        subject.store.commit([...disks, { kind: "instance", remove: present }]);
      },
  ),
  fc.tuple(aName, fc.nat(9999), fc.subarray(NODES, { minLength: 1 })).map(
    ([name, sizeMib, nodes]): Step =>
      (subject) => {
        const present = subject.store.view.disks.get(uuidOf(`disk of ${name}`));
        if (present === undefined) return;
        const put = { ...present, sizeMib, nodes: nodes.map((node) => uuidOf<NodeUuid>(node)) };
        subject.store.commit([{ kind: "disk", put }]);
      },
  ),
  // Networks come, and instances join them.
  fc.constantFrom("blue", "red").map(
    (name): Step =>
      ({ store }) =>
        store.commit([{ kind: "network", put: networkRow(uuidOf("network"), name) }]),
  ),
  aName.map(
    (name): Step =>
      (subject) =>
        change(subject, name, {
          nics: instanceRow(name).nics.map((nic) => ({ ...nic, network: uuidOf<NetworkUuid>("network") })),
        }),
  ),
  // What is above them changes.
  fc.tuple(aNode, fc.nat(9)).map(
    ([name, n]): Step =>
      ({ store }) =>
        store.commit([{ kind: "node", put: { ...nodeRow(name), name: `host${n}.${name}` } }]),
  ),
  fc.tuple(aNode, fc.boolean()).map(
    ([name, offline]): Step =>
      ({ store }) =>
        store.commit([{ kind: "node", put: nodeRow(name, { offline }) }]),
  ),
  fc.boolean().map(
    (auto_balance): Step =>
      ({ store }) => {
        const { cluster } = store.view;
        store.commit([{ kind: "cluster", put: { ...cluster, beparams: { ...cluster.beparams, auto_balance } } }]);
      },
  ),
  fc.nat(9).map(
    (n): Step =>
      ({ store }) => {
        const { cluster } = store.view;
        store.commit([{ kind: "cluster", put: { ...cluster, highestUsedPort: 11_000 + n, mtime: cluster.mtime + 1 } }]);
      },
  ),
  fc.string().map(
    (name): Step =>
      ({ store }) => {
        const group = [...store.view.groups.values()][0];
        if (group !== undefined) store.commit([{ kind: "nodegroup", put: { ...group, name: `group${name}` } }]);
      },
  ),
  // Nodes report, fall silent, come back.
  fc.tuple(aName, aNode, fc.constantFrom("running", "shutdown", "paused")).map(
    ([name, node, status]): Step =>
      ({ live }) =>
        live.noteInstance(uuidOf(node), guest(name, { status })),
  ),
  fc.tuple(aName, aNode).map(
    ([name, node]): Step =>
      ({ live }) =>
        live.noteInstanceGone(uuidOf(node), name),
  ),
  fc.tuple(aNode, fc.nat(9999)).map(
    ([node, memoryFreeMib]): Step =>
      ({ live }) =>
        live.apply(uuidOf(node), { update: { $case: "node", value: nodeState(node, { memoryFreeMib }) } }),
  ),
  aNode.map(
    (node): Step =>
      ({ live }) =>
        live.lose(uuidOf(node)),
  ),
  aNode.map(
    (node): Step =>
      ({ live }) =>
        live.apply(uuidOf(node), { update: { $case: "heartbeat", value: {} } }),
  ),
  fc.tuple(aNode, fc.subarray(NAMES)).map(
    ([node, names]): Step =>
      ({ live }) =>
        live.apply(
          uuidOf(node),
          snapshot(
            node,
            names.map((name) => guest(name)),
          ),
        ),
  ),
];

function networkRow(uuid: NetworkUuid, name: string): Network {
  const stamps = { ctime: 0, mtime: 0, serialNo: 0, tags: [] };
  const addresses = { network: "198.51.100.0/29", gateway: "198.51.100.1", network6: null, gateway6: null };
  const reservations = { reservations: "11000001", extReservations: "10000001" };
  return { uuid, name, macPrefix: null, ...stamps, ...addresses, ...reservations };
}

function answers(rows: ClusterRows): readonly string[] {
  const { instances, nodes, groups, networks } = rows;
  const lists = [instances, nodes, groups, networks].flatMap((cache) => [cache.bulk(), cache.plain()]);
  return [...lists, rows.info()].map(({ body }) => body.toString());
}

test("after any changes", () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(...steps), { maxLength: 40 }), (history) => {
      const subject: Subject = { store: new MemoryStore(), live: new MemoryLiveState() };
      const deps = { configStore: subject.store, liveState: subject.live };
      const rows = new ClusterRows(deps);
      for (const step of history) {
        step(subject);
        const fresh = new ClusterRows(deps);
        expect(answers(rows)).toEqual(answers(fresh));
        fresh.close();
      }
      rows.close();
    }),
    { numRuns: 500 },
  );
});

describe("work is done for what changed only", () => {
  function counted(): { readonly subject: Subject; readonly rows: ClusterRows; built(): number } {
    const subject: Subject = { store: new MemoryStore(), live: new MemoryLiveState() };
    const rows = new ClusterRows({ configStore: subject.store, liveState: subject.live });
    const stringify = vi.spyOn(JSON, "stringify");
    expect(rows.instances.bulk().body.length).toBeGreaterThan(2);
    return {
      subject,
      rows,
      built: () => {
        stringify.mockClear();
        expect(rows.instances.bulk().body.length).toBeGreaterThan(2);
        const calls = stringify.mock.calls.length;
        return calls;
      },
    };
  }

  test("one row for one instance, none when a port is taken or a node's memory moves, all for a default", () => {
    const { subject, built } = counted();
    expect(built()).toBe(0);
    change(subject, "inst1.gnt.test", { tags: ["x"] });
    expect(built()).toBe(1);
    subject.store.commit([{ kind: "cluster", put: { ...subject.store.view.cluster, highestUsedPort: 12_000 } }]);
    expect(built()).toBe(0);
    subject.live.apply(uuidOf(NODE1), { update: { $case: "node", value: nodeState(NODE1) } });
    expect(built()).toBe(0);
    subject.store.commit([{ kind: "cluster", put: { ...subject.store.view.cluster, beparams: { vcpus: 2 } } }]);
    expect(built()).toBe(2);
    vi.restoreAllMocks();
  });

  test("an unchanged list is the same bytes, not the same text encoded again", () => {
    const { rows } = counted();
    expect(rows.instances.bulk().body).toBe(rows.instances.bulk().body);
    vi.restoreAllMocks();
  });
});
