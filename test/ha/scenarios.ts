/** What a cluster of three machines must survive, one after another on the same cluster; each leaves it in order. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { connect } from "node:tls";
import { parseConfiguration } from "@gannet/config-store";
import { SYSTEM_LAYOUT, SYSTEM_PORTS } from "@gannet/objects";
import { type HaCluster, until } from "./ha-cluster.ts";
import { Load } from "./load.ts";
import type { Machine } from "./machine.ts";

export interface Scenario {
  readonly name: string;
  /** It is run with machines of its own, on which nothing is yet, instead of the cluster of the others. */
  readonly beginsEmpty?: boolean;
  /** @returns figures, each a name and what it came to */
  run(cluster: HaCluster): Promise<Readonly<Record<string, string | number>>>;
}

/** Work that is under way when the fault comes. */
const WARM_UP_MS = 2_000;

const initJoinCreate: Scenario = {
  name: "init, join, create: three empty machines become a cluster by the operator's programs",
  beginsEmpty: true,
  async run(cluster) {
    const [first, second, third] = cluster.hardware;
    assert.ok(first !== undefined && second !== undefined && third !== undefined);
    const init = await timed(() => cluster.initialise(first));
    const join = await timed(async () => {
      for (const machine of [second, third]) await cluster.joinNode(machine);
    });
    let toldOfTwo = "";
    const joinMaster = await timed(async () => {
      toldOfTwo = await cluster.joinMaster(second);
      await cluster.joinMaster(third);
    });
    assert.match(toldOfTwo, /one of 2\..*no majority.*Let a third one join/s);
    const settled = await timed(() => cluster.healthy());
    const name = "first.ha.test";
    const create = await timed(() => cluster.succeed("POST", "/2/instances", guestOn(name, third)));
    assert.equal(await statusOf(cluster, name), "running");
    // Root on a machine that has joined needs nothing else.
    for (const machine of cluster.hardware)
      assert.match(
        await machine.gnt("instance", "list", "-o", "name,pnode,status"),
        /first\.ha\.test +node3\.ha\.test +running/,
      );
    const verified = await third.gnt("cluster", "verify");
    assert.doesNotMatch(verified, /ERROR/);
    return {
      "init after ms": init,
      "two nodes joined after ms": join,
      "two masters joined after ms": joinMaster,
      "in step after ms": settled,
      "instance created after ms": create,
    };
  },
};

const growsAndLosesTheFirst: Scenario = {
  name: "one master grows to three by join-master alone, under load, and the first one's machine dies",
  beginsEmpty: true,
  async run(cluster) {
    const [first, ...others] = cluster.hardware;
    const [second, third] = others;
    assert.ok(first !== undefined && second !== undefined && third !== undefined);
    await cluster.initialise(first);
    for (const machine of others) await cluster.joinNode(machine);
    const load = await Load.begin(cluster, others);
    await busy(load);
    const grown = await timed(async () => {
      for (const machine of others) {
        await cluster.joinMaster(machine);
        await cluster.healthy();
      }
    });
    const [acceptedBefore, refusedMeanwhile] = [load.accepted.length, load.failedAttempts];
    assert.deepEqual([await cluster.leader(), await cluster.primary()], [first, first]);
    return {
      "grown after ms": grown,
      "accepted before the death": acceptedBefore,
      "attempts refused before it": refusedMeanwhile,
      ...(await outlived(cluster, load, first, others)),
    };
  },
};

const nodeComesBack: Scenario = {
  name: "a node, with the master on it, is removed and joined again, under load",
  async run(cluster) {
    const leader = await cluster.gather();
    const [victim, ...rest] = cluster.others(leader);
    assert.ok(victim !== undefined);
    const load = await Load.begin(cluster, [leader, ...rest]);
    await busy(load);
    load.askOnly([leader, ...rest]);
    assert.ok((await tokensOf(cluster)).includes(`root@${victim.name}`));
    // It is not there to be told, so it keeps its key.
    await victim.end("SIGTERM", "agent");
    const removed = await timed(async () => {
      await cluster.succeed("POST", "/2/opcodes/OP_NODE_REMOVE", { node_name: victim.name });
    });
    cluster.left(victim);
    await cluster.healthy();
    assert.ok(!(await tokensOf(cluster)).includes(`root@${victim.name}`), "its root can do nothing any more");
    await victim.end("SIGTERM", "master", "sentinel", "redis");
    await victim.start("agent");
    const add = { node_name: victim.name, primary_ip: victim.address };
    await until("the node is refused by its old certificate", async () => {
      const { status, opresult } = await cluster.finish("POST", "/2/opcodes/OP_NODE_ADD", add);
      assert.equal(status, "error");
      return JSON.stringify(opresult).includes("is revoked");
    });
    await victim.end("SIGTERM", "agent");
    const joined = await timed(async () => {
      await cluster.joinNode(victim);
      await cluster.joinMaster(victim, "--force");
      await cluster.healthy();
    });
    const name = "back.ha.test";
    await cluster.succeed("POST", "/2/instances", guestOn(name, victim));
    assert.equal(await statusOf(cluster, name), "running");
    assert.match(await victim.gnt("instance", "list", "-o", "name,pnode"), new RegExp(`${name} +${victim.name}`));
    await load.settle();
    const proof = await load.proof();
    await load.cleanUp();
    await cluster.succeed("DELETE", `/2/instances/${name}`, { shutdown_timeout: 0 });
    return {
      "removed after ms": removed,
      "back in step after ms": joined,
      ...proof,
      "attempts refused": load.failedAttempts,
    };
  },
};

const leaderDies: Scenario = {
  name: "the leader's machine dies, with Redis' primary on it, under load",
  async run(cluster) {
    const victim = await cluster.gather();
    const others = cluster.others(victim);
    const load = await Load.begin(cluster, others);
    await busy(load);
    return outlived(cluster, load, victim, others);
  },
};

const leaderIsCutOff: Scenario = {
  name: "the leader and Redis' primary are cut off from the majority",
  async run(cluster) {
    const victim = await cluster.gather();
    const others = cluster.others(victim);
    const before = await cluster.masters(victim);
    const load = await Load.begin(cluster, others);
    await busy(load);
    load.askOnly(others);
    const cutMs = performance.now();
    await cluster.network.pullCable(victim.number);
    const oldSide = insistentWrites(cluster, victim);
    const firstMs = await load.firstSuccessAfter(cutMs);
    await until("the leader that was cut off has given up the cluster's address", async () => {
      return !(await cluster.network.addressesOf(victim.number)).includes(cluster.network.clusterAddress);
    });
    // Beyond any time-out of the old side.
    await delay(WARM_UP_MS);
    const refusals = await oldSide.end();
    await load.settle();
    await cluster.network.plugCable(victim.number);
    await cluster.healthy();
    const after = await cluster.masters(victim);
    assert.notEqual(after.leader, before.leader);
    assert.ok((after.epoch ?? 0) > (before.epoch ?? 0), "the epoch has grown");
    const address = await onlyAddressOf(cluster, cluster.machines);
    const proof = await load.proof();
    await noOldEpochs(cluster);
    await load.cleanUp();
    return {
      "first job after ms": Math.round(firstMs),
      ...proof,
      "writes refused by the old leader": refusals,
      "cluster's address on": address,
    };
  },
};

const primaryDies: Scenario = {
  name: "Redis' primary is killed, away from the leader, under load",
  async run(cluster) {
    const leader = await cluster.gather();
    const [successor] = cluster.others(leader);
    assert.ok(successor !== undefined);
    const { status } = await cluster.rapi(leader, "POST", "/2/master/failover", { body: { node: successor.name } });
    assert.equal(status, 200);
    const load = await Load.begin(cluster);
    await busy(load);
    const diedMs = performance.now();
    await leader.end("SIGKILL", "redis");
    const firstMs = await load.firstSuccessAfter(diedMs);
    await load.settle();
    assert.notEqual(await cluster.primary(cluster.others(leader)), leader);
    await leader.start("redis");
    await cluster.healthy();
    const proof = await load.proof();
    await load.cleanUp();
    return { "first job after ms": Math.round(firstMs), ...proof };
  },
};

const plannedFailover: Scenario = {
  name: "the leader is changed by plan, under load",
  async run(cluster) {
    const leader = await cluster.leader();
    const [successor] = cluster.others(leader);
    assert.ok(successor !== undefined);
    const load = await Load.begin(cluster);
    await busy(load);
    const askedMs = performance.now();
    // Asked of a standby, which hands it on.
    const answer = await cluster.rapi(successor, "POST", "/2/master/failover", { body: { node: successor.name } });
    assert.deepEqual([answer.status, (answer.body as { leader: string }).leader], [200, successor.name]);
    const answeredMs = performance.now() - askedMs;
    const firstMs = await load.firstSuccessAfter(askedMs + answeredMs);
    await load.settle();
    const address = await onlyAddressOf(cluster, cluster.machines);
    assert.equal(address, successor.name);
    const proof = await load.proof();
    await load.cleanUp();
    return {
      "answered after ms": Math.round(answeredMs),
      "first job after ms": Math.round(answeredMs + firstMs),
      ...proof,
    };
  },
};

const rollingRestart: Scenario = {
  name: "every daemon is restarted in turn, under load",
  async run(cluster) {
    const load = await Load.begin(cluster);
    await busy(load);
    for (const machine of cluster.machines)
      for (const daemon of ["agent", "master", "sentinel", "redis"] as const) {
        await machine.end("SIGTERM", daemon);
        await machine.start(daemon);
        await cluster.healthy();
      }
    await load.settle();
    const proof = await load.proof();
    await load.cleanUp();
    return { ...proof, "attempts refused": load.failedAttempts };
  },
};

const diskIsFull: Scenario = {
  name: "the disk of Redis' primary is full, under load",
  async run(cluster) {
    const victim = await cluster.gather();
    const load = await Load.begin(cluster);
    await busy(load);
    const filledMs = performance.now();
    const free = await victim.fillRedisDisk();
    // With appendfsync always Redis ends rather than go on without its log.
    await until("Redis has ended", async () => !victim.isRunning("redis"));
    load.askOnly(cluster.others(victim));
    const firstMs = await load.firstSuccessAfter(filledMs);
    assert.notEqual(await cluster.primary(cluster.others(victim)), victim);
    await free();
    await victim.start("redis");
    await cluster.healthy();
    await load.settle();
    const proof = await load.proof();
    await load.cleanUp();
    return { "first job after ms": Math.round(firstMs), ...proof };
  },
};

const certificatesChange: Scenario = {
  name: "the authority and all certificates change, under load",
  async run(cluster) {
    const load = await Load.begin(cluster);
    await busy(load);
    const refusedBefore = load.failedAttempts;
    const beganMs = performance.now();
    const leader = await cluster.leader();
    const asked = await cluster.rapi(leader, "POST", "/2/opcodes/OP_CLUSTER_RENEW_CRYPTO", {
      body: { cluster_certificate: true },
    });
    assert.equal(asked.status, 200, JSON.stringify(asked.body));
    await load.drained([Number(asked.body)]);
    const { body } = await cluster.rapi(leader, "GET", `/2/jobs/${asked.body}`);
    const { status, opresult } = body as { status: string; opresult: unknown };
    assert.equal(status, "success", JSON.stringify(opresult));
    const tookMs = performance.now() - beganMs;
    const firstMs = await load.firstSuccessAfter(beganMs + tookMs);
    const authority = await readFile(leader.path(path.join(SYSTEM_LAYOUT.caDir, "ca.pem")), "utf8");
    for (const machine of cluster.machines)
      await until(`Redis and Sentinel of ${machine.name} are of the new authority alone`, () =>
        serversAreOf(machine, authority),
      );
    const refusedByChange = load.failedAttempts - refusedBefore;
    assert.equal(refusedByChange, 0, "nothing is refused while certificates change");
    // A master that starts now has only what is in its files.
    for (const machine of cluster.machines) {
      await machine.end("SIGTERM", "master", "agent");
      await machine.start("agent", "master");
      await cluster.healthy();
    }
    await load.settle();
    const proof = await load.proof();
    await load.cleanUp();
    return {
      "changed after ms": Math.round(tookMs),
      "first job after ms": Math.round(tookMs + firstMs),
      "attempts refused by the change": refusedByChange,
      "and by the restarts after it": load.failedAttempts - refusedBefore - refusedByChange,
      ...proof,
    };
  },
};

const rollingUpgrade: Scenario = {
  name: "every machine gets another build in turn, under load, and no guest is stopped",
  async run(cluster) {
    const version = "0.1.9";
    const next = await cluster.anotherBuild(version);
    const bystander = "bystander.ha.test";
    const [host] = cluster.machines;
    assert.ok(host !== undefined);
    const created = await cluster.rapi(await cluster.leader(), "POST", "/2/instances", {
      body: guestOn(bystander, host),
    });
    assert.equal(created.status, 200, JSON.stringify(created.body));
    const load = await Load.begin(cluster);
    await load.drained([Number(created.body)]);
    await busy(load);
    for (const machine of cluster.machines) {
      machine.install(next);
      for (const daemon of ["agent", "master"] as const) {
        await machine.end("SIGTERM", daemon);
        await machine.start(daemon);
        await cluster.healthy();
      }
    }
    await load.settle();
    const { body } = await cluster.rapi(await cluster.leader(), "GET", "/2/master");
    const versions = (body as { masters: { version: string }[] }).masters.map((each) => each.version);
    assert.deepEqual(new Set(versions), new Set([version]));
    const row = (await cluster.rapi(await cluster.leader(), "GET", `/2/instances/${bystander}`)).body;
    assert.equal((row as { status: string }).status, "running");
    const executions = (await Promise.all(cluster.machines.map((each) => each.executions()))).flat();
    const ofBystander = executions.filter(({ job }) => job === Number(created.body));
    assert.equal(ofBystander.filter(({ method }) => method.endsWith("/Start")).length, 1);
    const proof = await load.proof();
    await load.cleanUp();
    return { ...proof, "attempts refused": load.failedAttempts };
  },
};

const nodeReboots: Scenario = {
  name: "a node that does not lead is reset, and its guests are started again",
  async run(cluster) {
    const [other] = cluster.others(await cluster.gather());
    assert.ok(other !== undefined);
    const name = "rebooted.ha.test";
    const created = await cluster.finish("POST", "/2/instances", guestOn(name, other));
    assert.equal(created.status, "success");
    const startsBefore = (await startsOf(other)).length;
    const beganMs = performance.now();
    await other.cutPower();
    await until("the node is shown as not reachable", async () => {
      const { body } = await cluster.rapi(await cluster.leader(cluster.others(other)), "GET", `/2/nodes/${other.name}`);
      return (body as { mtotal: number | null }).mtotal === null;
    });
    const noticedMs = performance.now() - beganMs;
    assert.equal(await statusOf(cluster, name, cluster.others(other)), "ERROR_nodedown");
    const onMs = performance.now();
    await other.switchOn();
    const seen = new Set<string>();
    await until("the guest runs again", async () => {
      const status = await statusOf(cluster, name);
      seen.add(status);
      return status === "running";
    });
    const startedMs = performance.now() - onMs;
    // Nobody was told that it runs before it did.
    assert.deepEqual([...seen].sort(), ["ERROR_down", "ERROR_nodedown", "running"]);
    await cluster.healthy();
    const starts = (await startsOf(other)).length - startsBefore;
    assert.equal(starts, 1);
    await cluster.succeed("DELETE", `/2/instances/${name}`, { shutdown_timeout: 0 });
    return { "noticed after ms": Math.round(noticedMs), "guest started after ms": Math.round(startedMs), starts };
  },
};

const copies: Scenario = {
  name: "every master candidate has the newest configuration",
  async run(cluster) {
    const load = await Load.begin(cluster);
    await load.end();
    await load.cleanUp();
    let serial = 0;
    await until("the copies are all the same", async () => {
      const kept = await Promise.all(
        cluster.machines.map((each) => readFile(each.path(SYSTEM_LAYOUT.configurationSnapshotFile), "utf8")),
      );
      const serials = kept.map((text) => parseConfiguration(text).serial);
      serial = Math.max(...serials);
      const { body } = await cluster.rapi(await cluster.leader(), "GET", "/2/master");
      const known = (body as { masters: { configuration_serial: number }[] }).masters;
      return serials.every((each) => each === serial) && known.every((each) => each.configuration_serial === serial);
    });
    return { serial };
  },
};

const isRebuilt: Scenario = {
  name: "every Redis loses everything, and the cluster is rebuilt from a copy of its configuration",
  async run(cluster) {
    const { machines } = cluster;
    const first = await cluster.gather();
    const name = "kept.ha.test";
    await cluster.succeed("POST", "/2/instances", guestOn(name, first));
    const snapshot = first.path(SYSTEM_LAYOUT.configurationSnapshotFile);
    await until("the copy has the instance", async () => {
      const { rows } = parseConfiguration(await readFile(snapshot, "utf8"));
      return rows.instances.some((row) => row.name === name && row.adminState === "up");
    });
    const before = await startsOf(first);
    for (const machine of machines) await machine.end("SIGTERM", "master");
    for (const machine of machines) await machine.end("SIGKILL", "sentinel", "redis");
    for (const machine of machines) await machine.loseRedisData();
    for (const machine of machines) await machine.start("redis", "sentinel");
    const rebuilt = await timed(async () => {
      await first.operate("admin", ["rebuild", "--root", first.path("/"), "--snapshot", snapshot]);
      await first.start("master");
      for (const machine of cluster.others(first)) {
        await machine.start("master");
        const accept = ["--config", machine.path(SYSTEM_LAYOUT.masterConfigFile), "--accept-redis-loss"];
        await until("it has noticed the loss, which is accepted then", () =>
          machine.operate("master", accept).then(
            () => true,
            () => false,
          ),
        );
      }
      await cluster.healthy();
    });
    assert.equal(await statusOf(cluster, name), "running");
    assert.equal((await startsOf(first)).length, before.length, "the guest was left alone");
    const load = await Load.begin(cluster);
    await busy(load);
    await load.settle();
    const proof = await load.proof();
    await load.cleanUp();
    await cluster.succeed("DELETE", `/2/instances/${name}`, { shutdown_timeout: 0 });
    return { "rebuilt after ms": rebuilt, ...proof };
  },
};

export const LEADER_DIES: Scenario = leaderDies;
export const SCENARIOS: readonly Scenario[] = [
  initJoinCreate,
  growsAndLosesTheFirst,
  copies,
  nodeReboots,
  nodeComesBack,
  plannedFailover,
  leaderDies,
  leaderIsCutOff,
  primaryDies,
  diskIsFull,
  certificatesChange,
  rollingRestart,
  rollingUpgrade,
  isRebuilt,
];

/** A machine dies under load, the others go on, and it comes back in the end. */
async function outlived(cluster: HaCluster, load: Load, victim: Machine, others: readonly Machine[]) {
  const refusedBefore = load.failedAttempts;
  const diedMs = performance.now();
  await victim.cutPower();
  load.askOnly(others);
  const firstMs = await load.firstSuccessAfter(diedMs);
  await load.settle();
  const address = await onlyAddressOf(cluster, others);
  const proof = await load.proof();
  await victim.switchOn();
  await cluster.healthy();
  await load.cleanUp();
  return {
    "first job after ms": Math.round(firstMs),
    ...proof,
    "attempts refused": load.failedAttempts - refusedBefore,
    "cluster's address on": address,
  };
}

/** Whether the servers of a master's machine show certificates of this authority, and are told of no other. */
async function serversAreOf(machine: Machine, authority: string): Promise<boolean> {
  const file = (name: string) => readFile(machine.path(path.join(SYSTEM_LAYOUT.redisTlsDir, name)), "utf8");
  const [ca, cert, key] = await Promise.all(["ca.pem", "cert.pem", "key.pem"].map(file));
  if (ca !== authority) return false;
  for (const port of [SYSTEM_PORTS.redis, SYSTEM_PORTS.sentinel]) {
    const socket = connect({ host: machine.address, port, ca, cert, key });
    await once(socket, "secureConnect");
    socket.destroy();
  }
  return true;
}

function guestOn(name: string, { name: pnode }: Machine): object {
  return {
    ...{ __version__: 1, mode: "create", instance_name: name, disk_template: "diskless", disks: [], nics: [] },
    ...{ os_type: "noop", pnode, beparams: { memory: 16 } },
  };
}

/** As the leader tells it. */
async function statusOf(cluster: HaCluster, name: string, among = cluster.machines): Promise<string> {
  const { body } = await cluster.rapi(await cluster.leader(among), "GET", `/2/instances/${name}`);
  return (body as { readonly status: string }).status;
}

/** Names of the API tokens. */
async function tokensOf(cluster: HaCluster): Promise<readonly string[]> {
  const { body } = await cluster.rapi(await cluster.leader(), "GET", "/2/tokens");
  return (body as readonly { readonly name: string }[]).map(({ name }) => name);
}

/** How often a machine was told to start a guest. */
async function startsOf(machine: Machine) {
  return (await machine.executions()).filter(({ method }) => method.endsWith("/Start"));
}

/** Milliseconds that it takes. */
async function timed(what: () => Promise<unknown>): Promise<number> {
  const beganMs = performance.now();
  await what();
  return Math.round(performance.now() - beganMs);
}

async function busy(load: Load): Promise<void> {
  await delay(WARM_UP_MS);
  assert.ok(load.accepted.length > 0, "the load is under way");
}

/** The machine that has the cluster's address; exactly one of them, once that has settled. */
async function onlyAddressOf(cluster: HaCluster, among: readonly Machine[]): Promise<string> {
  let holder = "";
  await until("one machine has the cluster's address, the leader's", async () => {
    const leader = await cluster.leader(among);
    const addresses = await Promise.all(among.map(({ number }) => cluster.network.addressesOf(number)));
    const holders = among.filter((_, each) => addresses[each]?.includes(cluster.network.clusterAddress));
    holder = holders[0]?.name ?? "";
    return holders.length === 1 && holders[0] === leader;
  });
  return holder;
}

/** Ask one master to change things, again and again. None may be accepted. */
function insistentWrites(cluster: HaCluster, machine: Machine): { end(): Promise<number> } {
  const stop = new AbortController();
  let refused = 0;
  const asking = (async () => {
    while (!stop.signal.aborted) {
      const answer = await cluster
        .rapi(machine, "PUT", "/2/tags?tag=by-the-old-leader")
        .catch((error: unknown) => ({ status: 0, body: String(error) }));
      assert.notEqual(answer.status, 200, `the old leader accepted a write: ${JSON.stringify(answer.body)}`);
      if (answer.status === 503) refused += 1;
      await delay(100);
    }
  })();
  // It is awaited at the end.
  asking.catch(() => undefined);
  return {
    end: async () => {
      stop.abort();
      await asking;
      assert.ok(refused > 0, "the old leader has refused writes");
      return refused;
    },
  };
}

/** Nothing was done on a node under an older epoch than one that it had served before. */
async function noOldEpochs(cluster: HaCluster): Promise<void> {
  for (const machine of cluster.machines) {
    let highest = 0;
    for (const { epoch, step } of await machine.executions()) {
      assert.ok(epoch >= highest, `${machine.name}: ${step} was done under epoch ${epoch} after ${highest}`);
      highest = epoch;
    }
  }
}
