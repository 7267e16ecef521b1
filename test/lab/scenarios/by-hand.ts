/**
 * What an operation costs beside the same commands typed by hand on the same nodes. Prints figures, and judges none. The
 * guest by hand has the same devices, and is sent as safely: its memory by TLS with the nodes' own certificates, and
 * completed only when the target has read all of it.
 */
import { median, print } from "../../bench/figures.ts";
import type { NodeInLab } from "../lab.ts";
import { NODE_BRIDGE, VOLUME_GROUP } from "../plan.ts";
import type { Scenario } from "../scenario.ts";
import { inSync, mirroredInstance, twoNodes } from "./pairs.ts";

/** What does not depend on the size shows in a small disk, several times; what a real disk waits for is its sync. */
const SMALL_MIB = 64;
const LARGE_MIB = 1024;
const ROUNDS_MIB = [SMALL_MIB, SMALL_MIB, SMALL_MIB, LARGE_MIB];
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

interface Costs {
  readonly sizeMib: number;
  readonly createMs: number;
  readonly migrateMs: number;
  readonly downtimeMs: number;
}

type Pair = readonly [NodeInLab, NodeInLab];

export const BY_HAND: Scenario = {
  name: "figures: a mirrored instance, beside the same commands by hand",
  nodes: 2,
  async run(lab, step) {
    const pair = await twoNodes(lab);
    const ours: Costs[] = [];
    const byHand: Costs[] = [];
    for (const [index, sizeMib] of ROUNDS_MIB.entries()) {
      const round = `${index + 1}, ${sizeMib} MiB`;
      byHand.push(await step(`by hand, round ${round}`, () => costsByHand(pair, sizeMib)));
      ours.push(
        await step(`by Gannet, round ${round}`, async () => {
          const created = performance.now();
          const body = { disks: [{ size: sizeMib }] };
          const instance = await mirroredInstance(lab, `figures${index + 1}.gannet.test`, body);
          const createMs = performance.now() - created;
          await instance.counts();
          await inSync(instance, pair[1]);
          const migrated = performance.now();
          const { downtimeMs = Number.NaN } = await instance.migrate();
          const migrateMs = performance.now() - migrated;
          await instance.remove();
          return { sizeMib, createMs, migrateMs, downtimeMs };
        }),
      );
      console.log(`            created in ${[byHand, ours].map((all) => Math.round(all.at(-1)?.createMs ?? 0))} ms`);
    }
    const figure = (name: string, what: keyof Costs, size: number) => {
      const of = (all: readonly Costs[]) =>
        median(all.flatMap((costs) => (costs.sizeMib === size ? [costs[what]] : [])));
      const [value, baseline] = [of(ours), of(byHand)];
      print({ name, value, unit: "ms", baseline, ratio: value / baseline, goal: "ratio <= 1.2" });
    };
    for (const size of [SMALL_MIB, LARGE_MIB])
      figure(
        `DRBD instance of ${size} MiB, created with its disks in sync until it runs, beside by hand`,
        "createMs",
        size,
      );
    figure("its live migration, beside by hand", "migrateMs", SMALL_MIB);
    figure("how long the guest stands still in it, beside by hand", "downtimeMs", SMALL_MIB);
  },
};

async function costsByHand([first, second]: Pair, sizeMib: number): Promise<Costs> {
  const pair = [
    { node: first, peer: second },
    { node: second, peer: first },
  ];
  await Promise.all(pair.map(({ node }) => node.machine.run(COPY_CREDENTIALS)));
  try {
    const created = performance.now();
    await Promise.all(pair.map(({ node, peer }) => node.machine.run(mirrorScript(node, peer, sizeMib))));
    await first.machine.run(
      [
        `drbdsetup primary ${MINOR} --force`,
        `until grep -q '^ *${MINOR}: cs:Connected .*ds:UpToDate/UpToDate' /proc/drbd; do`,
        `  [ $((tries += 1)) -lt 600 ] || { cat /proc/drbd; dmesg | tail -n 40; exit 1; }`,
        "  sleep 0.1",
        "done",
        `dd if=/lab/node/counter.img of=${DEVICE} bs=1M conv=fsync,notrunc status=none`,
        guest("client"),
      ].join("\n"),
    );
    const createMs = performance.now() - created;

    const migrated = performance.now();
    const dualPrimary = (allowed: "yes" | "no") =>
      Promise.all(
        pair.map(({ node, peer }) =>
          node.machine.run(`drbdsetup net-options ${endsOf(node, peer)} --allow-two-primaries=${allowed}`),
        ),
      );
    await dualPrimary("yes");
    await second.machine.run(
      [
        QMP,
        `drbdsetup primary ${MINOR}`,
        `${guest("server")} -incoming defer`,
        `qmp ${RETURN_PATH} '{"execute":"migrate-set-parameters","arguments":{"tls-creds":"tls"}}' \\`,
        `  '{"execute":"migrate-incoming","arguments":{"uri":"tcp:0:${MIGRATION_PORT}"}}' >/dev/null`,
      ].join("\n"),
    );
    const answers = await first.machine.run(
      [
        QMP,
        `qmp ${RETURN_PATH} \\`,
        `  '{"execute":"migrate-set-parameters","arguments":{"tls-creds":"tls","tls-hostname":"${second.plan.name}"}}' \\`,
        `  '{"execute":"migrate","arguments":{"uri":"tcp:${second.plan.ip}:${MIGRATION_PORT}"}}' >/dev/null`,
        `until qmp '{"execute":"query-migrate"}' | grep '"status": "completed"'; do sleep 0.1; done`,
        `qmp '{"execute":"quit"}' >/dev/null`,
        `ip link delete dev ${TAP}`,
        `drbdsetup secondary ${MINOR}`,
      ].join("\n"),
    );
    await dualPrimary("no");
    const migrateMs = performance.now() - migrated;
    return { sizeMib, createMs, migrateMs, downtimeMs: Number(/"downtime": (\d+)/.exec(answers)?.[1]) };
  } finally {
    await Promise.all(pair.map(({ node }) => node.machine.run(CLEAR)));
  }
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
    `drbdsetup connect by-hand ${endsOf(node, peer)} --protocol=C --cram-hmac-alg=md5 --shared-secret=by-hand`,
  ].join("\n");
}

function endsOf(node: NodeInLab, peer: NodeInLab): string {
  return `ipv4:${node.plan.ip}:${PORT} ipv4:${peer.plan.ip}:${PORT}`;
}

/** @param endpoint - of the migration that is to come: who sends is the client */
function guest(endpoint: "client" | "server"): string {
  return [
    `ip tuntap add dev ${TAP} mode tap && ip link set dev ${TAP} master ${NODE_BRIDGE} up\n`,
    "qemu-system-x86_64 -daemonize -nodefaults -no-user-config -display none -vga std -accel kvm -smp 1 -m 32",
    `-drive file=${DEVICE},format=raw,if=virtio,cache=writeback -device virtio-balloon-pci`,
    `-qmp unix:${MONITOR},server=on,wait=off -monitor unix:${MONITOR}.hmp,server=on,wait=off`,
    `-serial unix:${MONITOR}.serial,server=on,wait=off`,
    `-netdev tap,id=nic,ifname=${TAP},script=no,downscript=no -device virtio-net-pci,netdev=nic`,
    `-object tls-creds-x509,id=tls,endpoint=${endpoint},dir=${CREDENTIALS},verify-peer=on`,
  ].join(" ");
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
