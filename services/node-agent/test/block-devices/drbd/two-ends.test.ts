/** Whatever two ends are told to do: no two primaries unless both may, and no acknowledged write is ever lost. */

import type { BlockDeviceSpec, MirrorStatus } from "@gannet/driver-contract";
import { BlockDeviceError } from "@gannet/errors";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { drbdsetup } from "../../../../../test/simulated-tools/drbd/drbdsetup-commands.ts";
import {
  type DrbdPair,
  drbdPair,
  eventually,
  makeMirror,
  never,
  type PairNode,
  read,
  statusNow,
  write,
} from "./drbd-pair.ts";

const signal = never();
const TEXT_CHARS = 8;
let pair: DrbdPair;
beforeAll(async () => {
  pair = await drbdPair({ inProcess: true });
});
afterAll(() => pair.close());

interface EndUnderTest {
  readonly node: PairNode;
  readonly disk: BlockDeviceSpec;
  /** What it must hold. */
  text: string;
  /** Written to since the ends parted. */
  hasChanged: boolean;
}

const OPERATIONS = {
  assemble: ({ node, disk }: EndUnderTest) => node.driver.assemble(disk, signal),
  standBy: ({ node, disk }: EndUnderTest) => node.driver.standBy(disk, signal),
  shutdown: ({ node, disk }: EndUnderTest) => node.driver.shutdown(disk, signal),
  disconnect: ({ node, disk }: EndUnderTest) => node.driver.disconnect(disk, signal),
  connect: ({ node, disk }: EndUnderTest) => node.driver.connect(disk, { dualPrimary: false }, signal),
  "connect for two": ({ node, disk }: EndUnderTest) => node.driver.connect(disk, { dualPrimary: true }, signal),
} as const;

type Step = readonly [end: 0 | 1, operation: keyof typeof OPERATIONS | "write"];
const step = fc.tuple(
  fc.constantFrom<0 | 1>(0, 1),
  fc.constantFrom<Step[1]>(...(Object.keys(OPERATIONS) as (keyof typeof OPERATIONS)[]), "write", "write", "assemble"),
);

/** How ends go on alone at both sides, which pure chance seldom finds; a part of it is as good. */
const PARTING: readonly Step[] = [
  [0, "disconnect"],
  [0, "write"],
  [1, "assemble"],
  [1, "write"],
  [1, "standBy"],
  [0, "connect"],
];
const steps = fc
  .tuple(
    fc.array(step, { maxLength: 6 }),
    fc.subarray([...PARTING], { minLength: 4 }),
    fc.array(step, { maxLength: 6 }),
  )
  .map((parts) => parts.flat());

test("random operations at both ends", async () => {
  await fc.assert(
    fc.asyncProperty(steps, async (performed) => {
      const disk = await makeMirror(pair);
      const ends = [newEnd(pair.first, disk), newEnd(pair.second, pair.mirrored(disk))] as const;
      let areTogether = true;
      for (const [at, operation] of performed) {
        await perform(ends[at], ends[1 - at] as EndUnderTest, operation, areTogether);
        areTogether = await check(ends, areTogether);
      }
      for (const { node, disk: end } of ends) await node.driver.remove(end, signal);
    }),
    { numRuns: 25, interruptAfterTimeLimit: 40_000 },
  );
}, 120_000);

function newEnd(node: PairNode, disk: BlockDeviceSpec): EndUnderTest {
  return { node, disk, text: "\0".repeat(TEXT_CHARS), hasChanged: false };
}

let writes = 0;

async function perform(
  end: EndUnderTest,
  other: EndUnderTest,
  operation: Step[1],
  areTogether: boolean,
): Promise<void> {
  if (operation !== "write") {
    await OPERATIONS[operation](end).catch((error: unknown) => {
      if (!(error instanceof BlockDeviceError)) throw error;
    });
    return;
  }
  if ((await statusNow(end.node, end.disk)).role !== "primary") return;
  writes += 1;
  end.text = String(writes).padStart(TEXT_CHARS);
  await write({ path: devicePath(end) }, end.text);
  if (areTogether) other.text = end.text;
  else end.hasChanged = true;
}

/** @returns whether the ends are connected and the same now */
async function check(ends: readonly [EndUnderTest, EndUnderTest], wereTogether: boolean): Promise<boolean> {
  await eventually(async () => (await statusNow(ends[0].node, ends[0].disk)).connection !== "syncing");
  const statuses = await Promise.all(ends.map(({ node, disk }) => statusNow(node, disk)));
  const areTogether = statuses.every(({ degraded }) => !degraded);
  if (areTogether && !wereTogether) rejoin(...ends);
  if (!areTogether) for (const end of ends) if (wereTogether) end.hasChanged = false;
  for (const [index, end] of ends.entries()) await holdsItsText(end, statuses[index]);
  if (areTogether && statuses.every(({ role }) => role === "primary")) {
    const shown = await Promise.all(ends.map(({ node, disk }) => allowsTwo(node, disk)));
    expect(shown).toEqual([true, true]);
  }
  return areTogether;
}

function rejoin(one: EndUnderTest, other: EndUnderTest): void {
  expect(one.hasChanged && other.hasChanged, "one end's writes were thrown away").toBe(false);
  const text = other.hasChanged ? other.text : one.text;
  for (const end of [one, other]) Object.assign(end, { text, hasChanged: false });
}

async function holdsItsText(end: EndUnderTest, status: MirrorStatus | undefined): Promise<void> {
  if (status?.role !== "primary" || status.localDisk !== "uptodate") return;
  expect(await read({ path: devicePath(end) }, TEXT_CHARS)).toBe(end.text);
}

async function allowsTwo({ folder }: PairNode, { link }: BlockDeviceSpec): Promise<boolean> {
  const { stdout = "" } = await drbdsetup(folder, ["show", `${link?.local.minor}`], "nothing");
  return /allow-two-primaries\s+yes;/.test(stdout);
}

function devicePath({ node, disk }: EndUnderTest): string {
  return `${node.tools.deviceFolder}/drbd${disk.link?.local.minor}`;
}
