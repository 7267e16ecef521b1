import { BlockDeviceError } from "@gannet/errors";
import { describe, expect, test } from "vitest";
import { recorded, recordedCalls } from "../../../../../test/simulated-tools/drbd/recorded/index.ts";
import { dialectOf } from "../../../src/block-devices/drbd/drbd-kernel.ts";
import { parseEvents } from "../../../src/block-devices/drbd/events.ts";
import { parseGenerations } from "../../../src/block-devices/drbd/generations.ts";
import type { KernelDevice } from "../../../src/block-devices/drbd/kernel-state.ts";
import { mirrorStatusOf } from "../../../src/block-devices/drbd/mirror-status.ts";
import { parseProcDrbd, parseVersion } from "../../../src/block-devices/drbd/proc-drbd.ts";
import { parseShow } from "../../../src/block-devices/drbd/shown-configuration.ts";

const syncing = (): string => {
  const outputs = recordedCalls().filter(({ command }) => command === "cat /proc/drbd");
  const found = outputs.find(({ output }) => output.includes("SyncSource"));
  if (found === undefined) throw new Error("no resync was recorded");
  return found.output;
};

describe("/proc/drbd", () => {
  test("of two new ends", () => {
    const text = recorded("node1", "cat /proc/drbd");
    expect(parseVersion(text)).toEqual({ major: 8, minor: 4, text: "8.4.11" });
    expect(parseProcDrbd(text)).toEqual([
      {
        ...{ minor: 0, connection: "Connected", role: "Secondary", peerRole: "Secondary" },
        ...{ disk: "Inconsistent", peerDisk: "Inconsistent", syncPaused: false },
      },
    ]);
  });

  test("of a resync", () => {
    expect(parseProcDrbd(syncing())).toEqual([
      {
        ...{ minor: 0, connection: "SyncSource", role: "Primary", peerRole: "Secondary" },
        ...{ disk: "UpToDate", peerDisk: "Inconsistent", syncPaused: false },
        ...{ syncPercent: 11.8, syncSecondsLeft: 13 },
      },
    ]);
  });

  test("of ends alone and diskless", () => {
    const alone = recorded("node1", "drbdsetup disconnect").slice(-200);
    expect(parseProcDrbd(alone)).toMatchObject([
      { connection: "StandAlone", peerRole: "Unknown", peerDisk: "DUnknown" },
    ]);
    const diskless = recorded("node1", "drbdsetup detach 0").split("resource")[0] ?? "";
    expect(parseProcDrbd(diskless)).toMatchObject([
      { connection: "Connected", disk: "Diskless", peerDisk: "UpToDate" },
    ]);
  });

  test("without devices, and with one that no longer is configured", () => {
    expect(parseProcDrbd(recorded("node1", "drbdsetup down").slice(0, 90))).toEqual([]);
    expect(parseProcDrbd(" 0: cs:Unconfigured\n")).toEqual([]);
  });

  test("of many devices, each with its own progress", () => {
    const lines = " 7: cs:Connected ro:Secondary/Secondary ds:UpToDate/UpToDate C r-----\n    ns:0 nr:0\n";
    const paused = "12: cs:PausedSyncT ro:Secondary/Primary ds:Inconsistent/UpToDate C r--u--\n";
    const devices = parseProcDrbd(`${lines}${syncing()}${paused}\t[>..] sync'ed:  0.6% (1/2)K\n`);
    expect(devices.map(({ minor, syncPercent, syncPaused }) => [minor, syncPercent, syncPaused])).toEqual([
      [7, undefined, false],
      [0, 11.8, false],
      [12, 0.6, true],
    ]);
  });

  test("that is none is refused", () => {
    expect(() => parseVersion("")).toThrow(BlockDeviceError);
    expect(() => parseVersion("version: eight\n")).toThrow(BlockDeviceError);
    expect(() => parseProcDrbd(" 0: something else\n")).toThrow(BlockDeviceError);
  });

  test.each([
    ["version: 8.3.16 (api:88/proto:86-97)\n", /8\.3\.16 is not supported/],
    ["version: 10.0.0 (api:2/proto:118-122)\n", /10\.0\.0 is not supported/],
  ])("a version that is not known is refused: %s", (text, message) => {
    expect(() => dialectOf(parseVersion(text))).toThrow(message);
  });
});

describe("drbdsetup show", () => {
  test("of a connected end, and no secret", () => {
    const text = recorded("node1", "drbdsetup show");
    expect(text).toContain("sekrit");
    const shown = parseShow(text);
    expect(shown).toEqual([
      {
        ...{ name: "resource0", minor: 0, dataPath: "/dev/xenvg/d0_data", metadataPath: "/dev/xenvg/d0_meta" },
        connection: {
          local: { family: "ipv4", host: "10.99.0.11", port: 11_000 },
          peer: { family: "ipv4", host: "10.99.0.12", port: 11_000 },
          dualPrimary: false,
        },
      },
    ]);
    expect(JSON.stringify(shown)).not.toContain("sekrit");
  });

  test("of a diskless end that allows two primaries", () => {
    const text = recorded("node1", "drbdsetup detach 0").replace(/^[\s\S]*?(?=resource)/, "");
    expect(parseShow(text)).toMatchObject([{ minor: 0, dataPath: undefined, connection: { dualPrimary: true } }]);
  });

  test("of nothing", () => expect(parseShow("")).toEqual([]));

  test("of a resource that has no device yet", () => {
    expect(parseShow("resource resource3 {\n    options {\n    }\n    _this_host {\n    }\n}\n")).toEqual([
      { name: "resource3" },
    ]);
  });

  test("of 9, with IPv6", () => {
    const text = `resource "resource4" {
    options {
    }
    _this_host {
        node-id\t\t\t0;
        volume 0 {
            device\t\t\tminor 4;
            disk\t\t\t"/dev/xenvg/data {odd}";
            meta-disk\t\t\t"/dev/xenvg/meta";
            disk {
                size            \t131072s; # bytes
            }
        }
    }
    connection {
        _peer_node_id 1;
        path {
            _this_host ipv6 [2001:db8::1]:11004;
            _remote_host ipv6 [2001:db8::2]:11004;
        }
        net {
            allow-two-primaries\tyes;
            shared-secret   \t"sek;rit";
            _name           \t"peer";
        }
        volume 0 {
            disk {
                resync-rate     \t61440k; # bytes/second
            }
        }
    }
}
`;
    expect(parseShow(text)).toEqual([
      {
        ...{ name: "resource4", minor: 4, dataPath: "/dev/xenvg/data {odd}", metadataPath: "/dev/xenvg/meta" },
        connection: {
          local: { family: "ipv6", host: "2001:db8::1", port: 11_004 },
          peer: { family: "ipv6", host: "2001:db8::2", port: 11_004 },
          dualPrimary: true,
          peerNodeId: 1,
        },
      },
    ]);
  });

  test.each(["}", "resource a {", "resource a { b }", 'x "'])("that is none is refused: %s", (text) => {
    expect(() => parseShow(text)).toThrow(BlockDeviceError);
  });
});

describe("drbdsetup events2", () => {
  const both = recorded("node1", "timeout 3 drbdsetup events2");
  const withStatistics = both.slice(both.indexOf("exists -\n") + "exists -\n".length);

  test("tells what /proc/drbd tells, and the size", () => {
    const [device] = parseEvents(withStatistics);
    expect(device).toMatchObject({
      ...{ resource: "resource0", minor: 0, sizeKib: 65_536, connection: "SyncSource" },
      ...{ role: "Primary", peerRole: "Secondary", disk: "UpToDate", peerDisk: "Inconsistent", syncPaused: false },
    });
    expect(device?.syncPercent).toBeCloseTo(71.875);
  });

  test("of 9, where the peer is looked for", () => {
    const [device] = parseEvents(
      [
        "exists resource name:resource4 role:Secondary suspended:no write-ordering:flush",
        "exists connection name:resource4 peer-node-id:1 conn-name:peer connection:Connecting role:Unknown congested:no",
        "exists device name:resource4 volume:0 minor:4 backing_dev:/dev/xenvg/data disk:UpToDate client:no quorum:yes size:65536 read:0",
        "exists peer-device name:resource4 peer-node-id:1 conn-name:peer volume:0 replication:Off peer-disk:DUnknown peer-client:no resync-suspended:user,peer out-of-sync:0",
        "exists -",
        "",
      ].join("\n"),
    );
    expect(device).toMatchObject({ minor: 4, connection: "WFConnection", peerDisk: "DUnknown", syncPaused: true });
  });

  test("of no device", () => expect(parseEvents("exists -\n")).toEqual([]));

  test("that was cut short or is garbage is refused", () => {
    expect(() => parseEvents("")).toThrow(BlockDeviceError);
    expect(() => parseEvents(withStatistics.replace("exists -\n", ""))).toThrow(BlockDeviceError);
    expect(() => parseEvents("%$§!\nexists -\n")).toThrow(BlockDeviceError);
  });
});

describe("drbdsetup get-gi", () => {
  test("of an end that is connected", () => {
    const text = recorded("node1", "drbdsetup show-gi").trim().split("\n").at(-1) ?? "";
    expect(parseGenerations(`${text}\n`)).toEqual({
      current: "F762EEE30187737D",
      bitmap: undefined,
      history: ["31B37A8F6B3667E5", "0000000000000004"],
    });
  });

  test("that is garbage is refused", () => expect(() => parseGenerations("nothing\n")).toThrow(BlockDeviceError));
});

describe("the status of a mirror", () => {
  const [device] = parseProcDrbd(syncing());
  const status = (changes: Partial<KernelDevice>) =>
    mirrorStatusOf(
      { ...(device as KernelDevice), syncPercent: undefined, syncSecondsLeft: undefined, ...changes },
      { splitBrain: false },
    );

  test("while it is synchronised", () => {
    expect(mirrorStatusOf(device as KernelDevice, { splitBrain: false })).toEqual({
      ...{ role: "primary", peerRole: "secondary", connection: "syncing", localDisk: "uptodate", peerDisk: "syncing" },
      ...{ syncPercent: 11.8, estimatedSeconds: 13, degraded: true, splitBrain: false },
    });
  });

  test("when it is whole", () => {
    expect(status({ connection: "Connected", peerDisk: "UpToDate" })).toEqual({
      ...{ role: "primary", peerRole: "secondary", connection: "connected", localDisk: "uptodate" },
      ...{ peerDisk: "uptodate", syncPercent: null, estimatedSeconds: null, degraded: false, splitBrain: false },
    });
  });

  test.each([
    [{ connection: "WFConnection", peerRole: "Unknown", peerDisk: "DUnknown" }, "connecting", "uptodate", "unknown"],
    [{ connection: "StandAlone", peerDisk: "DUnknown" }, "standalone", "uptodate", "unknown"],
    [{ connection: "Connected", disk: "Diskless", peerDisk: "UpToDate" }, "connected", "diskless", "uptodate"],
    [{ connection: "PausedSyncT", disk: "Inconsistent", peerDisk: "UpToDate" }, "syncing", "syncing", "uptodate"],
    [{ connection: "Connected", disk: "Inconsistent", peerDisk: "Inconsistent" }, "connected", "outdated", "outdated"],
    [{ connection: "WFConnection", disk: "Outdated", peerDisk: "DUnknown" }, "connecting", "outdated", "unknown"],
  ] as const)("%j", (changes, connection, localDisk, peerDisk) => {
    expect(status(changes)).toMatchObject({ connection, localDisk, peerDisk, degraded: true });
  });

  test("a resync that says nothing of its progress has made none", () => {
    expect(status({ connection: "WFBitMapS" })).toMatchObject({ syncPercent: 0, estimatedSeconds: null });
  });
});
