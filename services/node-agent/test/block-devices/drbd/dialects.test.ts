import type { BlockDeviceSpec } from "@gannet/driver-contract";
import { describe, expect, test } from "vitest";
import type { DrbdCommand, DrbdDialect } from "../../../src/block-devices/drbd/dialect.ts";
import { DIALECT_8_4 } from "../../../src/block-devices/drbd/dialect-8.4.ts";
import { DIALECT_9 } from "../../../src/block-devices/drbd/dialect-9.ts";
import { type DrbdDisk, drbdDisk } from "../../../src/block-devices/drbd/drbd-disk.ts";

const volume = (uuid: string, name: string, sizeMib: number): BlockDeviceSpec => ({
  ...{ uuid, template: "plain", logicalId: ["xenvg", name], sizeMib, mode: "rw" },
  ...{ instanceName: "web1.example.com", index: 0, params: {}, children: [] },
});

function disk(changes: Partial<BlockDeviceSpec> = {}): DrbdDisk {
  return drbdDisk(
    {
      ...volume("11111111-0000-4000-8000-000000000000", "", 1024),
      template: "drbd",
      logicalId: [],
      children: [
        volume("22222222-0000-4000-8000-000000000000", "u.disk0_data", 1024),
        volume("abcdef01-2345-4678-8000-000000000000", "u.disk0_meta", 128),
      ],
      link: {
        ...{ local: { address: "192.0.2.2", minor: 3 }, peer: { address: "192.0.2.1", minor: 7 } },
        ...{ port: 11_003, secret: "s3cr3t" },
      },
      ...changes,
    },
    "/dev",
  );
}

const line = ({ program, args }: DrbdCommand): string => [program, ...args].join(" ");
const ipv6 = () =>
  disk({
    link: {
      ...{ local: { address: "2001:db8::2", minor: 3 }, peer: { address: "2001:db8::1", minor: 7 } },
      ...{ port: 11_003, secret: "" },
    },
  });

/** The commands whose form does not depend on the disk's parameters. */
const simple = (dialect: DrbdDialect) => ({
  createMetadata: line(dialect.createMetadata(disk())),
  writeMark: line(dialect.writeMark(disk())),
  applyActivityLog: line(dialect.applyActivityLog(disk())),
  newResource: line(dialect.newResource(disk())),
  newMinor: line(dialect.newMinor(disk())),
  detach: line(dialect.detach(disk())),
  resyncOptions: line(dialect.resyncOptions(disk())),
  primary: line(dialect.primary(disk(), { force: false })),
  seed: line(dialect.primary(disk(), { force: true })),
  secondary: line(dialect.secondary(disk())),
  resize: line(dialect.resize(disk(), 2048)),
  pauseSync: line(dialect.pauseSync(disk())),
  resumeSync: line(dialect.resumeSync(disk())),
  down: line(dialect.down(disk())),
  generations: line(dialect.generations(disk())),
  show: line(dialect.show),
  events: line(dialect.events("all")),
  allowTwo: line(dialect.changeConnection(disk(), { dualPrimary: true })),
  allowOne: line(dialect.changeConnection(disk({ params: { protocol: "A" } }), { dualPrimary: false })),
});

describe("8.4", () => {
  test("every command", () => {
    expect(simple(DIALECT_8_4)).toEqual({
      createMetadata: "drbdmeta --force /dev/drbd3 v08 /dev/xenvg/u.disk0_meta flex-external create-md",
      writeMark:
        "drbdmeta --force /dev/drbd3 v08 /dev/xenvg/u.disk0_meta flex-external write-dev-uuid ABCDEF0123454678",
      applyActivityLog: "drbdmeta --force /dev/drbd3 v08 /dev/xenvg/u.disk0_meta flex-external apply-al",
      newResource: "drbdsetup new-resource resource3",
      newMinor: "drbdsetup new-minor resource3 3 0",
      detach: "drbdsetup detach 3",
      resyncOptions: "drbdsetup disk-options 3 --c-plan-ahead=0 --resync-rate=61440k",
      primary: "drbdsetup primary 3",
      seed: "drbdsetup primary 3 --force",
      secondary: "drbdsetup secondary 3",
      resize: "drbdsetup resize 3 --size=2097152k",
      pauseSync: "drbdsetup pause-sync 3",
      resumeSync: "drbdsetup resume-sync 3",
      down: "drbdsetup down resource3",
      generations: "drbdsetup get-gi 3",
      show: "drbdsetup show",
      events: "drbdsetup events2 --now --statistics all",
      allowTwo:
        "drbdsetup net-options ipv4:192.0.2.2:11003 ipv4:192.0.2.1:11003 --protocol=C --allow-two-primaries=yes",
      allowOne: "drbdsetup net-options ipv4:192.0.2.2:11003 ipv4:192.0.2.1:11003 --protocol=A --allow-two-primaries=no",
    });
  });

  test("a connection, its secret an argument of its own that is told to be secret", () => {
    const [command] = DIALECT_8_4.connect(disk(), { dualPrimary: false });
    expect(command).toEqual({
      program: "drbdsetup",
      args: [
        ...["connect", "resource3", "ipv4:192.0.2.2:11003", "ipv4:192.0.2.1:11003", "--protocol=C"],
        ...["--after-sb-0pri=discard-zero-changes", "--after-sb-1pri=consensus"],
        ...["--cram-hmac-alg=md5", "--shared-secret", "s3cr3t"],
      ],
      secretArgs: [9],
    });
    expect(command?.args[9]).toBe("s3cr3t");
  });

  test("a connection for two primaries is of protocol C, whatever the disk's is", () => {
    const asked = disk({ params: { protocol: "A", "net-custom": "--verify-alg=crc32c  --max-buffers 8000" } });
    expect(DIALECT_8_4.connect(asked, { dualPrimary: true }).map(({ args }) => args.slice(4))).toEqual([
      [
        ...["--protocol=C", "--after-sb-0pri=discard-zero-changes", "--after-sb-1pri=consensus"],
        ...["--allow-two-primaries=yes", "--verify-alg=crc32c", "--max-buffers", "8000"],
        ...["--cram-hmac-alg=md5", "--shared-secret", "s3cr3t"],
      ],
    ]);
    expect(DIALECT_8_4.connect(asked, { dualPrimary: false })[0]?.args[4]).toBe("--protocol=A");
  });

  test("IPv6, without a secret", () => {
    const [command] = DIALECT_8_4.connect(ipv6(), { dualPrimary: false });
    expect(command?.args.slice(2, 4)).toEqual(["ipv6:[2001:db8::2]:11003", "ipv6:[2001:db8::1]:11003"]);
    expect(command?.args.join(" ")).not.toMatch(/secret|hmac/);
  });

  test.each([
    [{}, []],
    [{ "disk-barriers": "n", "meta-barriers": true }, ["--md-flushes=no"]],
    [{ "disk-barriers": "bf" }, ["--disk-barrier=no", "--disk-flushes=no"]],
    [{ "disk-barriers": "fdb" }, ["--disk-barrier=no", "--disk-drain=no", "--disk-flushes=no"]],
    [{ "disk-custom": "--al-extents=1237" }, ["--al-extents=1237"]],
  ])("attaching with %j", (params, options) => {
    expect(DIALECT_8_4.attach(disk({ params })).args).toEqual([
      ...["attach", "3", "/dev/xenvg/u.disk0_data", "/dev/xenvg/u.disk0_meta", "flexible"],
      ...["--size=1048576k", "--on-io-error=detach", ...options],
      ...["--c-plan-ahead=0", "--resync-rate=61440k"],
    ]);
  });

  test("a resync whose speed follows the load", () => {
    const asked = disk({ params: { "dynamic-resync": true, "c-fill-target": 100, "c-max-rate": 40_000 } });
    expect(line(DIALECT_8_4.resyncOptions(asked))).toBe(
      "drbdsetup disk-options 3 --c-plan-ahead=20 --c-fill-target=100 --c-delay-target=1 --c-max-rate=40000k --c-min-rate=4096k",
    );
  });

  test("the connection that is ended is the one that there is", () => {
    const connection = {
      local: { family: "ipv4", host: "192.0.2.2", port: 11_003 },
      peer: { family: "ipv4", host: "192.0.2.9", port: 11_003 },
      dualPrimary: false,
    } as const;
    expect(DIALECT_8_4.disconnect(disk(), connection).map(line)).toEqual([
      "drbdsetup disconnect ipv4:192.0.2.2:11003 ipv4:192.0.2.9:11003",
    ]);
  });
});

describe("9", () => {
  test("every command", () => {
    expect(simple(DIALECT_9)).toEqual({
      createMetadata: "drbdmeta --force 3 v09 /dev/xenvg/u.disk0_meta flex-external create-md 1",
      writeMark: "drbdmeta --force 3 v09 /dev/xenvg/u.disk0_meta flex-external write-dev-uuid ABCDEF0123454678",
      applyActivityLog: "drbdmeta --force 3 v09 /dev/xenvg/u.disk0_meta flex-external apply-al",
      newResource: "drbdsetup new-resource resource3 1",
      newMinor: "drbdsetup new-minor resource3 3 0",
      detach: "drbdsetup detach 3",
      resyncOptions: "drbdsetup peer-device-options resource3 0 0 --c-plan-ahead=0 --resync-rate=61440k",
      primary: "drbdsetup primary resource3",
      seed: "drbdsetup primary resource3 --force",
      secondary: "drbdsetup secondary resource3",
      resize: "drbdsetup resize 3 --size=2097152k",
      pauseSync: "drbdsetup pause-sync resource3 0 0",
      resumeSync: "drbdsetup resume-sync resource3 0 0",
      down: "drbdsetup down resource3",
      generations: "drbdsetup get-gi resource3 0 0",
      show: "drbdsetup show all",
      events: "drbdsetup events2 --now --statistics all",
      allowTwo: "drbdsetup net-options resource3 0 --protocol=C --allow-two-primaries=yes",
      allowOne: "drbdsetup net-options resource3 0 --protocol=A --allow-two-primaries=no",
    });
  });

  test("a connection is a peer, its path, and the connecting", () => {
    const commands = DIALECT_9.connect(disk(), { dualPrimary: true });
    expect(commands.map(line)).toEqual([
      "drbdsetup new-peer resource3 0 --protocol=C --after-sb-0pri=discard-zero-changes --after-sb-1pri=consensus --allow-two-primaries=yes --cram-hmac-alg=md5 --shared-secret s3cr3t",
      "drbdsetup new-path resource3 0 ipv4:192.0.2.2:11003 ipv4:192.0.2.1:11003",
      "drbdsetup connect resource3 0",
    ]);
    expect(commands[0]?.args[commands[0]?.secretArgs?.[0] ?? 0]).toBe("s3cr3t");
  });

  test("the ends choose different node ids by their addresses", () => {
    const { spec } = disk();
    if (spec.link === undefined) throw new Error("no link");
    const other = disk({ link: { ...spec.link, local: spec.link.peer, peer: spec.link.local } });
    expect(line(DIALECT_9.newResource(other))).toBe("drbdsetup new-resource resource7 0");
    expect(line(DIALECT_9.secondary(other))).toBe("drbdsetup secondary resource7");
    expect(line(DIALECT_9.generations(other))).toBe("drbdsetup get-gi resource7 1 0");
  });

  test("a peer goes with its connection", () => {
    const address = { family: "ipv4", host: "192.0.2.2", port: 11_003 } as const;
    const connection = { local: address, peer: address, dualPrimary: false, peerNodeId: 5 };
    expect(DIALECT_9.disconnect(disk(), connection).map(line)).toEqual([
      "drbdsetup disconnect resource3 5",
      "drbdsetup del-peer resource3 5",
    ]);
  });
});
