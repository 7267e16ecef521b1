/**
 * The recorded sessions, of which the simulated tools are made and by which they are tested, once more with the tools
 * themselves: what these print has not become another since.
 */
import { deepEqual } from "node:assert/strict";
import { comparable, isCompared, recordedCalls, withoutClearing } from "../../simulated-tools/drbd/recorded/index.ts";
import { LOSS, RECORDED_GROUP, recordedSession, withoutIdentity } from "../../simulated-tools/lvm/recorded/index.ts";
import * as lxc from "../../simulated-tools/lxc/recorded/index.ts";
import { parseSession, type SessionStep, sessionScript } from "../../simulated-tools/recorded-session.ts";
import * as xl from "../../simulated-tools/xen/recorded/index.ts";
import { VOLUME_GROUP } from "../plan.ts";
import type { Scenario } from "../scenario.ts";
import { expectEqual, twoNodes } from "./pairs.ts";

/** As long as the recorded name, so that tables are as wide. */
const GROUP = "simvg";
const FOLDER = "/var/lib/gannet/recorded";
const SESSION_MS = 120_000;
/** Two boots of a Linux are among it. */
const XL_SESSION_MS = 300_000;
const MOST_TOLD_CHARS = 6_000;
const CLEAR_XL = `xl list | awk 'NR > 2 { print $1 }' | xargs -r -n1 xl destroy; rm -rf ${xl.RECORDED_FOLDER}`;

/** LVM that knows of some devices only, and of no other volume group. */
function lvmSeeing(devices: readonly string[]): string {
  const accepted = devices.map((device) => `"a|^${device}$|"`).join(", ");
  return `cat >${FOLDER}/lvm.conf <<'END'
devices { filter = [ ${accepted}, "r|.*|" ] global_filter = [ ${accepted}, "r|.*|" ] use_devicesfile = 0 }
END
export LVM_SYSTEM_DIR=${FOLDER}`;
}

const { physicalVolumes } = RECORDED_GROUP;
const PREPARE_LVM = [
  `mkdir -p ${FOLDER}`,
  lvmSeeing(physicalVolumes),
  ...physicalVolumes.flatMap((device, index) => [
    `truncate -s 1G ${FOLDER}/${index}`,
    `losetup ${device} ${FOLDER}/${index}`,
  ]),
  `vgcreate -qq ${GROUP} ${physicalVolumes.join(" ")}`,
].join("\n");
/** As after a reboot: nothing that is active tells where the device was. */
const LOSE = [
  `vgchange -qq -an ${GROUP}`,
  lvmSeeing(physicalVolumes.filter((device) => device !== LOSS.physicalVolume)),
].join("\n");
const CLEAR_LVM = [
  lvmSeeing(physicalVolumes),
  `vgchange -qq -an ${GROUP}; dmsetup ls | awk '/^${GROUP}-/ { print $1 }' | xargs -r dmsetup remove`,
  ...physicalVolumes.map((device) => `losetup -d ${device}`),
  `rm -rf ${FOLDER} /dev/${GROUP}`,
].join("\n");

const LVM: Scenario = {
  name: "recorded tools: LVM answers as it was recorded",
  nodes: 1,
  async run(lab, step) {
    const [node] = await lab.use(1);
    if (node === undefined) return;
    const recorded = recordedSession().map(inOtherGroup);
    try {
      await step("three loop devices", () => node.machine.run(PREPARE_LVM));
      const script = `${lvmSeeing(physicalVolumes)}\n${sessionScript(recorded, { [LOSS.event]: LOSE })}`;
      const told = await step(`${recorded.length} commands`, () => node.machine.run(script, SESSION_MS));
      deepEqual(parseSession(told).map(withoutName), recorded.map(withoutName));
    } finally {
      await step("nothing of it is left", () => node.machine.run(CLEAR_LVM));
    }
  },
};

function inOtherGroup(step: SessionStep): SessionStep {
  return JSON.parse(JSON.stringify(step).replaceAll(RECORDED_GROUP.name, GROUP)) as SessionStep;
}

function withoutName(step: SessionStep): SessionStep {
  return "event" in step ? step : { ...step, answer: withoutIdentity(step.answer) };
}

const HELPER = "/sys/module/drbd/parameters/usermode_helper";
const VOLUMES = { d0_data: "64M", d0_meta: "128M" } as const;
const PREPARE_DRBD = [
  `cat ${HELPER} >/run/recorded-helper`,
  ...Object.entries(VOLUMES).map(([name, size]) => `lvcreate -qq -y -Wn -L${size} -n${name} ${VOLUME_GROUP}`),
].join("\n");
/** A machine that is faster than the recorded one asks before that. */
const CONNECTED = "timeout 30 drbdsetup wait-connect 0";
const CLEAR_DRBD = [
  "drbdsetup down resource0 2>/dev/null",
  `lvremove -qq -f ${Object.keys(VOLUMES)
    .map((name) => `${VOLUME_GROUP}/${name}`)
    .join(" ")}`,
  `cat /run/recorded-helper >${HELPER} && rm -f /run/recorded-helper /tmp/w`,
].join("\n");

const DRBD: Scenario = {
  name: "recorded tools: DRBD answers as it was recorded",
  nodes: 2,
  async run(lab, step) {
    const nodes = await twoNodes(lab);
    const machines = new Map(nodes.map(({ machine, name }) => [name.split(".")[0], machine]));
    const onBoth = (script: string) => Promise.all(nodes.map(({ machine }) => machine.run(script)));
    const calls = recordedCalls();
    try {
      await step("the volumes below", () => onBoth(PREPARE_DRBD));
      await step(`${calls.length} lines of commands`, async () => {
        for (const { node, command, output } of calls) {
          // Some of the lines are there for what fails.
          const told = await machines.get(node)?.command(command, SESSION_MS);
          if (node === "node2" && command.startsWith("drbdsetup connect")) await onBoth(CONNECTED);
          if (!isCompared(withoutClearing(command))) continue;
          deepEqual({ node, command, told: settled(told?.output ?? "") }, { node, command, told: settled(output) });
        }
      });
    } finally {
      await step("nothing of it is left", () => onBoth(CLEAR_DRBD));
    }
  },
};

/** How far the first resync has come depends on the machine. */
function settled(output: string): string {
  return comparable(output)
    .replaceAll("SyncSource", "Established")
    .replaceAll("cs:Established", "cs:Connected")
    .replaceAll("Inconsistent", "UpToDate")
    .replaceAll(/\b(oos|out-of-sync|pending):\w+/g, "$1:N")
    .replaceAll(/^\tprogress\n/gm, "");
}

const LXC: Scenario = {
  name: "recorded tools: lxc answers as it was recorded",
  nodes: 1,
  async run(lab, step) {
    const [node] = await lab.use(1);
    if (node === undefined) return;
    const recorded = lxc.recordedSession();
    try {
      await node.machine.run([...placed(lxc.RECORDED_FOLDER, lxc.RECORDED_FILES), lxc.MAKE_ROOT].join("\n"));
      const told = await step(`${recorded.length} commands`, () =>
        node.machine.run(sessionScript(recorded, {}), SESSION_MS),
      );
      deepEqual(lxc.comparableSession(parseSession(told)), lxc.comparableSession(recorded));
    } finally {
      await step("nothing of it is left", () => node.machine.run(`rm -rf ${lxc.RECORDED_FOLDER}`));
    }
  },
};

/** Script that writes files below a folder. */
function placed(folder: string, files: Readonly<Record<string, string>>): readonly string[] {
  return Object.entries(files).map(([name, text]) => {
    const file = `${folder}/${name}`;
    return `mkdir -p "$(dirname ${file})" && cat >${file} <<'END'\n${text}END`;
  });
}

/** On nodes that are Xen's domain 0. */
export const RECORDED_XL: Scenario = {
  name: "recorded tools: xl answers as it was recorded",
  nodes: 1,
  async run(lab, step) {
    const [node] = await lab.use(1);
    if (node === undefined) return;
    const recorded = xl.recordedSession();
    const script = sessionScript(recorded, { [xl.HAS_COME.event]: xl.HAS_COME.script });
    const answers = async (): Promise<{ readonly exitCode: number; readonly output: string }> => {
      await node.machine.run(placed(xl.RECORDED_FOLDER, xl.RECORDED_FILES).join("\n"));
      return await node.machine.command(script, XL_SESSION_MS);
    };
    try {
      let told = await step(`${recorded.length} commands`, answers);
      // Of some ten emulated Linuxes in emulated domains one stood still as it started.
      if (told.exitCode === xl.HAS_NOT_COME) {
        console.log(`its Linux has not come: ${told.output.slice(-MOST_TOLD_CHARS)}`);
        await node.machine.run(CLEAR_XL);
        told = await step(`${recorded.length} commands, once more`, answers);
      }
      expectEqual("exit code", told.exitCode, 0);
      deepEqual(xl.comparableSession(parseSession(told.output)), xl.comparableSession(recorded));
    } finally {
      await step("nothing of it is left", () => node.machine.run(CLEAR_XL));
    }
  },
};

export const RECORDED_TOOLS_SCENARIOS: readonly Scenario[] = [LVM, LXC, DRBD];
