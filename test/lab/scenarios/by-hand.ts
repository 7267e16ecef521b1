/**
 * What an operation costs beside the same commands typed by hand on the same nodes. Prints figures, and judges none. The
 * guest by hand has the same devices, and is sent as safely: its memory by TLS with the nodes' own certificates, and
 * completed only when the target has read all of it.
 */
import { median, print } from "../../bench/figures.ts";
import type { Lab, NodeInLab } from "../lab.ts";
import { NODE_BRIDGE, VOLUME_GROUP } from "../plan.ts";
import type { Scenario } from "../scenario.ts";
import { inSync, mirroredInstance, twoNodes } from "./pairs.ts";

/** What does not depend on the size shows in a small disk; what a real one waits for is its synchronisation. */
const SMALL_MIB = 64;
const LARGE_MIB = 1024;
/** A daemon that has just started compiles its code while it does it for the first time: that round is not counted. */
const WARM_UP: Round = { sizeMib: SMALL_MIB, migrates: true };
const ROUNDS: readonly Round[] = [
  ...Array<Round>(3).fill({ sizeMib: SMALL_MIB, migrates: true }),
  ...Array<Round>(2).fill({ sizeMib: SMALL_MIB, migrates: false }),
  ...Array<Round>(3).fill({ sizeMib: LARGE_MIB, migrates: false }),
];
const GOAL = "ratio <= 1.2";
const MINOR = 40;
const PORT = 11_900;
const MIGRATION_PORT = 8_900;
const MONITOR = "/run/by-hand.qmp";
const TAP = "byhand0";
/** qemu's names of a node's certificate and its key (qemu(1), tls-creds-x509). */
const CREDENTIALS = "/run/by-hand-tls";
const COPY_CREDENTIALS = [
  `mkdir -p ${CREDENTIALS} && cd /lab/node/identity && cp ca.pem ${CREDENTIALS}/ca-cert.pem`,
  `for end in client server; do cp cert.pem ${CREDENTIALS}/$end-cert.pem; cp key.pem ${CREDENTIALS}/$end-key.pem; done`,
].join("\n");
const DEVICE = `/dev/drbd${MINOR}`;
const VOLUMES = ["by-hand.data", "by-hand.meta"].map((name) => `/dev/${VOLUME_GROUP}/${name}`);
/** qemu's monitor: prints the answers to the commands. */
const QMP = `qmp() { printf '%s\\n' '{"execute":"qmp_capabilities"}' "$@" | socat -t5 - UNIX-CONNECT:${MONITOR}; }`;
const RETURN_PATH = `'{"execute":"migrate-set-capabilities","arguments":{"capabilities":[{"capability":"return-path","state":true}]}}'`;

/** Command of the guest, whose memory is sent as a client and received as a server. */
const GUEST = [
  `ip tuntap add dev ${TAP} mode tap && ip link set dev ${TAP} master ${NODE_BRIDGE} up\n`,
  "qemu-system-x86_64 -daemonize -nodefaults -no-user-config -display none -vga std -accel kvm -smp 1 -m 32",
  `-drive file=${DEVICE},format=raw,if=virtio,cache=writeback -device virtio-balloon-pci`,
  `-qmp unix:${MONITOR},server=on,wait=off -monitor unix:${MONITOR}.hmp,server=on,wait=off`,
  `-serial unix:${MONITOR}.serial,server=on,wait=off`,
  `-netdev tap,id=nic,ifname=${TAP},script=no,downscript=no -device virtio-net-pci,netdev=nic`,
  ...["client", "server"].map(
    (end) => `-object tls-creds-x509,id=${end},endpoint=${end},dir=${CREDENTIALS},verify-peer=on`,
  ),
].join(" ");

interface Round {
  readonly sizeMib: number;
  readonly migrates: boolean;
}

interface Costs {
  readonly sizeMib: number;
  readonly createMs: number;
  /** There and back, if at all. */
  readonly migrations: readonly MigrationCosts[];
}

interface MigrationCosts {
  readonly totalMs: number;
  /** How long the guest stood still. */
  readonly downtimeMs: number;
}

type Pair = readonly [NodeInLab, NodeInLab];

export const BY_HAND: Scenario = {
  name: "figures: a mirrored instance, beside the same commands by hand",
  nodes: 2,
  alone: true,
  async run(lab, step) {
    const pair = await twoNodes(lab);
    const ours: Costs[] = [];
    const byHand: Costs[] = [];
    for (const [index, round] of [WARM_UP, ...ROUNDS].entries()) {
      const title = index === 0 ? "warming up" : `round ${index}, ${round.sizeMib} MiB`;
      const handCosts = await step(`by hand, ${title}`, () => costsByHand(pair, round));
      const ourCosts = await step(`by Gannet, ${title}`, () => costsByGannet(lab, `figures${index}`, round));
      if (index === 0) continue;
      byHand.push(handCosts);
      ours.push(ourCosts);
    }
    const figure = (name: string, valuesOf: (costs: Costs) => readonly number[]) => {
      const [value, baseline] = [median(ours.flatMap(valuesOf)), median(byHand.flatMap(valuesOf))];
      print({ name: `${name}, beside by hand`, value, unit: "ms", baseline, ratio: value / baseline, goal: GOAL });
    };
    for (const size of [SMALL_MIB, LARGE_MIB])
      figure(`DRBD instance of ${size} MiB, created with its disks in sync until it runs`, (costs) =>
        costs.sizeMib === size ? [costs.createMs] : [],
      );
    const migrations = (what: keyof MigrationCosts) => (costs: Costs) => costs.migrations.map((one) => one[what]);
    figure("live migration of a DRBD instance", migrations("totalMs"));
    figure("how long the guest stands still in it", migrations("downtimeMs"));
  },
};

async function costsByGannet(lab: Lab, name: string, { sizeMib, migrates }: Round): Promise<Costs> {
  const [instance, createMs] = await clocked(() =>
    mirroredInstance(lab, `${name}.gannet.test`, { disks: [{ size: sizeMib }] }),
  );
  const migrations: MigrationCosts[] = [];
  for (const _direction of migrates ? ["there", "back"] : []) {
    await instance.counts();
    await inSync(instance, await instance.primary());
    const [{ downtimeMs = Number.NaN }, totalMs] = await clocked(() => instance.migrate());
    migrations.push({ totalMs, downtimeMs });
  }
  await instance.remove();
  return { sizeMib, createMs, migrations };
}

async function costsByHand([first, second]: Pair, { sizeMib, migrates }: Round): Promise<Costs> {
  const ends = endsOf(first, second);
  await Promise.all(ends.map(({ node }) => node.machine.run(COPY_CREDENTIALS)));
  try {
    const [, createMs] = await clocked(async () => {
      await Promise.all(ends.map(({ node, peer }) => node.machine.run(mirrorScript(node, peer, sizeMib))));
      await first.machine.run(
        [
          `drbdsetup primary ${MINOR} --force`,
          `until grep -q '^ *${MINOR}: cs:Connected .*ds:UpToDate/UpToDate' /proc/drbd; do`,
          `  [ $((tries += 1)) -lt 300 ] || { cat /proc/drbd; dmesg | tail -n 40; exit 1; }`,
          "  sleep 0.2",
          "done",
          `dd if=/lab/node/counter.img of=${DEVICE} bs=1M conv=fsync,notrunc status=none`,
          GUEST,
        ].join("\n"),
      );
    });
    const migrations = migrates ? [await migrateByHand(first, second), await migrateByHand(second, first)] : [];
    return { sizeMib, createMs, migrations };
  } finally {
    await Promise.all(ends.map(({ node }) => node.machine.run(CLEAR)));
  }
}

/** It is looked at seldom: each look takes two programs' time of the node's one processor. */
async function migrateByHand(source: NodeInLab, target: NodeInLab): Promise<MigrationCosts> {
  const dualPrimary = (allowed: "yes" | "no") =>
    Promise.all(
      endsOf(source, target).map(({ node, peer }) =>
        node.machine.run(`drbdsetup net-options ${linkOf(node, peer)} --allow-two-primaries=${allowed}`),
      ),
    );
  const [downtimeMs, totalMs] = await clocked(async () => {
    await dualPrimary("yes");
    await target.machine.run(
      [
        QMP,
        `drbdsetup primary ${MINOR}`,
        `${GUEST} -incoming defer`,
        `qmp ${RETURN_PATH} '{"execute":"migrate-set-parameters","arguments":{"tls-creds":"server"}}' \\`,
        `  '{"execute":"migrate-incoming","arguments":{"uri":"tcp:0:${MIGRATION_PORT}"}}' >/dev/null`,
      ].join("\n"),
    );
    const tls = `{"tls-creds":"client","tls-hostname":"${target.plan.name}"}`;
    const answers = await source.machine.run(
      [
        QMP,
        `qmp ${RETURN_PATH} '{"execute":"migrate-set-parameters","arguments":${tls}}' \\`,
        `  '{"execute":"migrate","arguments":{"uri":"tcp:${target.plan.ip}:${MIGRATION_PORT}"}}' >/dev/null`,
        `until qmp '{"execute":"query-migrate"}' | grep '"status": "completed"'; do sleep 0.5; done`,
        `qmp '{"execute":"quit"}' >/dev/null`,
        `ip link delete dev ${TAP}`,
        `drbdsetup secondary ${MINOR}`,
      ].join("\n"),
    );
    await dualPrimary("no");
    return Number(/"downtime": (\d+)/.exec(answers)?.[1]);
  });
  return { totalMs, downtimeMs };
}

/** @returns its result, and how many milliseconds it took */
async function clocked<Result>(body: () => Promise<Result>): Promise<readonly [Result, number]> {
  const startedAt = performance.now();
  const result = await body();
  return [result, performance.now() - startedAt];
}

/** As Ganeti has it done: volumes, metadata, device, connection. */
function mirrorScript(node: NodeInLab, peer: NodeInLab, sizeMib: number): string {
  const [data, meta] = VOLUMES;
  return [
    "set -e",
    `lvcreate -q -y -Wn -L${sizeMib}m -n by-hand.data ${VOLUME_GROUP} >/dev/null`,
    `lvcreate -q -y -Wn -L128m -n by-hand.meta ${VOLUME_GROUP} >/dev/null`,
    `drbdmeta --force ${DEVICE} v08 ${meta} flex-external create-md >/dev/null`,
    "drbdsetup new-resource by-hand",
    `drbdsetup new-minor by-hand ${MINOR} 0`,
    `drbdsetup attach ${MINOR} ${data} ${meta} flexible --size=${sizeMib * 1024}k --on-io-error=detach`,
    `drbdsetup disk-options ${MINOR} --c-plan-ahead=0 --resync-rate=61440k`,
    `drbdsetup connect by-hand ${linkOf(node, peer)} --protocol=C --cram-hmac-alg=md5 --shared-secret=by-hand`,
  ].join("\n");
}

function endsOf(
  first: NodeInLab,
  second: NodeInLab,
): readonly { readonly node: NodeInLab; readonly peer: NodeInLab }[] {
  return [
    { node: first, peer: second },
    { node: second, peer: first },
  ];
}

/** drbdsetup's name of the connection, as a node has it. */
function linkOf(node: NodeInLab, peer: NodeInLab): string {
  return `ipv4:${node.plan.ip}:${PORT} ipv4:${peer.plan.ip}:${PORT}`;
}

const CLEAR = [
  "pkill -f by-hand.qmp; while pgrep -f by-hand.qmp >/dev/null; do sleep 0.1; done",
  `drbdsetup secondary ${MINOR} 2>/dev/null`,
  "drbdsetup down by-hand 2>/dev/null",
  `lvremove -q -f ${VOLUMES.join(" ")} >/dev/null 2>&1`,
  `ip link delete dev ${TAP} 2>/dev/null`,
  `rm -rf ${MONITOR}* ${CREDENTIALS}`,
  "true",
].join("\n");
