import { existsSync } from "node:fs";
import { cp, mkdir, open, readdir, readFile, rm, stat, symlink, truncate, utimes, writeFile } from "node:fs/promises";
import path from "node:path";
import type { GuestDisk, GuestNic, GuestSpec } from "@gannet/driver-contract";
import { OpPrereqError } from "@gannet/errors";
import { createCommandRunner } from "@gannet/exec";
import { silentLogger } from "@gannet/telemetry";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { readFat } from "./fat-files.ts";
import { createRequest, GUEST, type OsFixture, osFixture, validateRequest } from "./os-fixture.ts";

const OURS = path.join(import.meta.dirname, "../../../../deploy/os/image");
const TOOLS = ["/usr/sbin/sfdisk", "/usr/bin/qemu-img"];
const missing = TOOLS.filter((tool) => !existsSync(tool));
if (missing.length > 0) console.warn(`Not testing the image definition: ${missing.join(", ")} not installed`);

const MIB = 1024 * 1024;
const SECTOR = 512;
const KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBbq you@example.com";
const { signal } = new AbortController();
const runner = createCommandRunner({ logger: silentLogger() });
const run = async (argv: readonly [string, ...string[]], input = "") =>
  (await runner.run({ argv: [...argv], timeoutMs: 20_000, input })).stdout;

let os: OsFixture;
let images: string;
let definition: string;
beforeEach(async () => {
  os = await osFixture();
  definition = path.join(os.first, "image");
  images = path.join(os.base, "images");
  await mkdir(images);
  await cp(OURS, definition, { recursive: true });
  await writeFile(
    path.join(definition, "image.conf"),
    `image_folder=${images}\ncache_folder=${path.join(os.base, "cache")}\n`,
  );
});
afterEach(() => os.close());

/** An image of 16 MiB whose last partition, of "contents", is not the last of the table. */
async function makeImage(
  name: string,
  { table = GPT, format = "raw" }: { readonly table?: string; readonly format?: "raw" | "qcow2" } = {},
): Promise<void> {
  const raw = path.join(os.base, `${name}.raw`);
  await writeFile(raw, "");
  await truncate(raw, 16 * MIB);
  if (table !== "") await run(["/usr/sbin/sfdisk", "--quiet", raw], table);
  {
    await using file = await open(raw, "r+");
    await file.write(Buffer.from("BOOTCODE"), 0, 8, 0);
    await file.write(Buffer.from("contents of the root filesystem"), 0, 31, 8192 * SECTOR);
  }
  await run(["/usr/bin/qemu-img", "convert", "-f", "raw", "-O", format, raw, path.join(images, name)]);
  await rm(raw);
}
const GPT =
  'label: gpt\nfirst-lba: 2048\n1 : start=8192, size=16384, name="root"\n14 : start=2048, size=6144, type=21686148-6449-6E6F-744E-656564454649\n';
const NO_GAP = 'label: gpt\nfirst-lba: 34\n1 : start=40, size=24576, name="root"\n';
const MBR = "label: dos\nstart=2048, size=22528, type=83, bootable\n";

async function makeDisk(name: string, sizeMib: number): Promise<string> {
  const file = path.join(os.base, name);
  await writeFile(file, Buffer.alloc(MIB, "old"));
  await truncate(file, sizeMib * MIB);
  return file;
}
const guestDisk = (file: string, index = 0, name: string | null = null): GuestDisk => ({
  ...{ uuid: `disk-${index}`, index, name, path: file, kind: "file", format: "raw", access: "rw", sizeMib: 64 },
});
const guest = (changes: Partial<GuestSpec>): GuestSpec => ({ ...GUEST, ...changes });

async function install(
  disks: readonly GuestDisk[],
  parameters: Record<string, string>,
  nics: readonly GuestNic[] = [],
) {
  await os.definitions().create(createRequest("image", { guest: guest({ disks, nics }), parameters }), signal);
}
async function partitions(disk: string) {
  const dump = await run(["/usr/sbin/sfdisk", "--json", disk]);
  const { partitiontable } = JSON.parse(dump) as { partitiontable: { lastlba?: number; partitions: Partition[] } };
  return {
    ...partitiontable,
    partitions: partitiontable.partitions.map(({ node, ...rest }) => ({
      ...rest,
      number: Number(/\d+$/.exec(node.slice(disk.length))?.[0]),
    })),
  };
}
interface Partition {
  readonly node: string;
  readonly start: number;
  readonly size: number;
  readonly name?: string;
  readonly bootable?: boolean;
}
async function bytes(file: string, from: number, length: number): Promise<Buffer> {
  await using opened = await open(file);
  return (await opened.read(Buffer.alloc(length), 0, length, from)).buffer;
}
const seedAt = async (disk: string, sector: number, sectors: number) =>
  readFat(await bytes(disk, sector * SECTOR, sectors * SECTOR));
async function refusal(parameters: Record<string, string>): Promise<string> {
  const error = await os
    .definitions()
    .validate(validateRequest("image", parameters), signal)
    .catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(OpPrereqError);
  return (error as OpPrereqError).message.split("\n").slice(1).join("\n");
}

describe.runIf(missing.length === 0)("the image definition", () => {
  test("is valid and needs no variant", async () => {
    const [facts] = await os.definitions().diagnose();
    expect(facts).toMatchObject({ name: "image", valid: true, problem: "", variants: [], apiVersions: [20] });
    expect(facts?.parameters.map(({ name }) => name)).toEqual([
      ...["image", "sha256", "user-data", "ssh-keys", "network", "dns", "grow"],
    ]);
  });

  test.each(["raw", "qcow2"] as const)(
    "writes a %s image, grows its last partition, and puts the seed into the gap in front",
    async (format) => {
      await makeImage("debian", { format });
      const disk = await makeDisk("disk1", 64);
      await install([guestDisk(disk)], { image: "debian", "ssh-keys": `${KEY}\n\n${KEY} "two\\` });
      expect((await stat(disk)).size).toBe(64 * MIB);
      const table = await partitions(disk);
      expect(table.lastlba).toBe((64 * MIB) / SECTOR - 34);
      expect(table.partitions).toMatchObject([
        { number: 1, start: 8192, size: (64 * MIB) / SECTOR - 33 - 8192, name: "root" },
        { number: 14, start: 2048, size: 6144 },
        { number: 15, start: 64, size: 1984, name: "cidata" },
      ]);
      expect(await run(["/usr/sbin/sfdisk", "--verify", disk])).toMatch(/No errors detected/);
      expect((await bytes(disk, 0, 8)).toString()).toBe("BOOTCODE");
      expect((await bytes(disk, 8192 * SECTOR, 31)).toString()).toBe("contents of the root filesystem");
      expect(await seedAt(disk, 64, 1984)).toEqual({
        label: "CIDATA",
        sectors: 1984,
        files: {
          "meta-data": `instance-id: "${GUEST.uuid}"\nlocal-hostname: "web1.example.com"\n`,
          "user-data": `#cloud-config\nssh_authorized_keys:\n  - "${KEY}"\n  - "${KEY} \\"two\\\\"\n`,
          "network-config": "version: 2\n",
        },
      });
      const found = await run(["/usr/sbin/blkid", "--probe", "--offset", String(64 * SECTOR), disk]);
      expect(found).toMatch(/ LABEL="CIDATA" .*TYPE="vfat"/);
    },
  );

  test.each([
    ["GPT without a gap", NO_GAP, 40, 2],
    ["an MBR", MBR, 2048, 2],
  ])(
    "%s has the seed at the disk's end, in front of which the last partition ends",
    async (_what, table, start, number) => {
      await makeImage("image.raw", { table });
      const disk = await makeDisk("disk", 64);
      await install([guestDisk(disk)], { image: "image.raw" });
      const seedStart = Math.floor(((64 * MIB) / SECTOR - (table === MBR ? 0 : 33) - 2880) / 2048) * 2048;
      expect((await partitions(disk)).partitions).toMatchObject([
        { number: 1, start, size: seedStart - start },
        { number, start: seedStart, size: 2880 },
      ]);
      expect((await bytes(disk, 0, 8)).toString()).toBe("BOOTCODE");
      expect(await seedAt(disk, seedStart, 2880)).toMatchObject({
        label: "CIDATA",
        files: { "user-data": "#cloud-config\n" },
      });
    },
  );

  test("without growth the partitions stay, and a disk named cidata takes the seed", async () => {
    await makeImage("debian");
    const disks = [await makeDisk("disk", 32), await makeDisk("other", 4), await makeDisk("seed", 2)] as const;
    const userData = `#cloud-config\npassword: ${"x".repeat(100_000)}\n`;
    await install([guestDisk(disks[0]), guestDisk(disks[1], 1), guestDisk(disks[2], 2, "cidata")], {
      image: "debian",
      grow: "no",
      network: "none",
      "user-data": userData,
    });
    expect((await partitions(disks[0])).partitions).toMatchObject([
      { number: 1, start: 8192, size: 16384 },
      { number: 14, start: 2048 },
    ]);
    const seed = await seedAt(disks[2], 0, 2880);
    expect(seed).toMatchObject({ label: "CIDATA", sectors: 2880 });
    expect(Object.keys(seed.files).sort()).toEqual(["meta-data", "user-data"]);
    expect(seed.files["user-data"]).toBe(`${userData}\n`);
    expect((await bytes(disks[1], 0, 3)).toString()).toBe("old");
  });

  test("the network is that of the NICs: addresses, prefixes and gateways of both families, or DHCP", async () => {
    await makeImage("debian");
    const disk = await makeDisk("disk", 32);
    const network = { name: "lan", uuid: "n", macPrefix: null, tags: ["a", "b"] };
    const none = { subnet: null, gateway: null, subnet6: null, gateway6: null };
    const nic = (index: number, changes: Partial<GuestNic>): GuestNic => ({
      ...{ uuid: `nic-${index}`, index, name: null, mac: `aa:00:00:00:00:0${index}`, ip: null, mode: "bridged" },
      ...{ link: "br0", vlan: "", ...changes },
    });
    await install([guestDisk(disk)], { image: "debian", dns: "192.0.2.53, 2001:db8::53" }, [
      nic(0, {
        ip: "192.0.2.7",
        network: {
          ...network,
          ...{ subnet: "192.0.2.0/26", gateway: "192.0.2.1", subnet6: "2001:db8:1::/64", gateway6: "2001:db8:1::1" },
        },
      }),
      nic(1, { ip: "198.51.100.9", network: { ...network, ...none, subnet: "198.51.100.0/24" } }),
      nic(2, { ip: "203.0.113.5" }),
      nic(3, {
        ip: "2001:db8:2::9",
        network: { ...network, ...none, subnet6: "2001:db8:2::/56", gateway6: "fe80::1" },
      }),
      nic(4, { mac: "02:12:34:ab:cd:ef", network: { ...network, ...none, subnet6: "2001:db8:a:b::/64" } }),
      nic(5, { network: { ...network, ...none, subnet6: "::/64" } }),
    ]);
    const dns = '    nameservers: {addresses: ["192.0.2.53", "2001:db8::53"]}';
    const eth = (index: number, mac: string, dhcp: boolean, ...lines: string[]) => [
      ...[
        `  eth${index}:`,
        `    match: {macaddress: "${mac}"}`,
        `    set-name: eth${index}`,
        `    dhcp4: ${dhcp}`,
        ...lines,
      ],
    ];
    expect((await seedAt(disk, 64, 1984)).files["network-config"]?.trimEnd().split("\n")).toEqual([
      ...["version: 2", "ethernets:"],
      ...eth(
        ...([0, "aa:00:00:00:00:00", false] as const),
        '    addresses: ["192.0.2.7/26", "2001:db8:1:0:a800:00ff:fe00:0000/64"]',
        '    gateway4: "192.0.2.1"',
        '    gateway6: "2001:db8:1::1"',
        dns,
      ),
      ...eth(1, "aa:00:00:00:00:01", false, '    addresses: ["198.51.100.9/24"]', dns),
      ...eth(2, "aa:00:00:00:00:02", true),
      ...eth(3, "aa:00:00:00:00:03", true, '    addresses: ["2001:db8:2::9/56"]', '    gateway6: "fe80::1"', dns),
      ...eth(4, "02:12:34:ab:cd:ef", true, '    addresses: ["2001:db8:a:b:0012:34ff:feab:cdef/64"]', dns),
      ...eth(5, "aa:00:00:00:00:05", true, '    addresses: ["0:0:0:0:a800:00ff:fe00:0005/64"]', dns),
    ]);
  });

  test("a rename gives cloud-init another instance, in the seed where it is", async () => {
    await makeImage("debian");
    const disk = await makeDisk("disk", 32);
    await install([guestDisk(disk)], { image: "debian" });
    const renamed = guest({ name: "web2.example.com", disks: [guestDisk(disk)] });
    const request = createRequest("image", { guest: renamed, parameters: { image: "debian" } });
    await os.definitions().rename(request, GUEST.name, signal);
    const seed = await seedAt(disk, 64, 1984);
    expect(seed.files["meta-data"]).toBe(
      `instance-id: "${GUEST.uuid}-web2.example.com"\nlocal-hostname: "web2.example.com"\n`,
    );
    expect((await bytes(disk, 8192 * SECTOR, 31)).toString()).toBe("contents of the root filesystem");
  });

  test("an image by URL comes from the cache under its checksum, a variant has defaults", async () => {
    await makeImage("debian");
    const contents = await readFile(path.join(images, "debian"));
    const sum = (await run(["/usr/bin/sha256sum", path.join(images, "debian")])).split(" ")[0] ?? "";
    await mkdir(path.join(os.base, "cache"));
    await writeFile(path.join(os.base, "cache", sum), contents);
    await utimes(path.join(os.base, "cache", sum), 1_000_000, 1_000_000);
    await writeFile(path.join(definition, "variants.list"), "bookworm\n");
    await mkdir(path.join(definition, "variants"));
    await writeFile(
      path.join(definition, "variants", "bookworm.conf"),
      `image=https://images.invalid/debian.raw\nsha256=${sum.toUpperCase()}\n`,
    );
    await os.definitions().validate(validateRequest("image+bookworm"), signal);
    const disk = await makeDisk("disk", 16);
    const request = createRequest("image+bookworm", { guest: guest({ disks: [guestDisk(disk)] }) });
    await os.definitions().create(request, signal);
    expect((await bytes(disk, 8192 * SECTOR, 31)).toString()).toBe("contents of the root filesystem");
    expect(Date.now() - (await stat(path.join(os.base, "cache", sum))).mtimeMs).toBeLessThan(60_000);
    const unreachable = { ...request, parameters: { sha256: "0".repeat(64) } };
    await expect(os.definitions().create(unreachable, signal)).rejects.toThrow(/the image cannot be fetched/);
  });

  test.each([
    ["no image", {}, /parameter image is missing/],
    ["an image that is not there", { image: "nothing.raw" }, /there is no image \*\*\* in /],
    ["an image outside the folder", { image: "link" }, /image \*\*\* leads outside /],
    ["a path upwards", { image: "../second" }, /is not the name of a file/],
    ["a path upwards inside", { image: "x/../../second" }, /there is no image|leads outside/],
    ["an option", { image: "-O" }, /is not the name of a file/],
    ["plain http", { image: "http://x/y" }, /must be a file's name or an https URL/],
    ["a URL without a checksum", { image: "https://x/y" }, /sha256 is required/],
    [
      "a URL with a line's end",
      { image: "https://x/y\n-o/etc/passwd", sha256: "0".repeat(64) },
      /characters that no URL/,
    ],
    ["a checksum that is none", { image: "debian", sha256: "abc" }, /64 hexadecimal digits/],
    ["both keys and user-data", { image: "debian", "user-data": "#cloud-config", "ssh-keys": KEY }, /give either/],
    [
      "user-data that cloud-init ignores",
      { image: "debian", "user-data": "packages: [x]" },
      /must begin with #cloud-config/,
    ],
    [
      "keys that are none",
      {
        image: "debian",
        "ssh-keys": `${KEY}
BEGIN PRIVATE KEY`,
      },
      /no public key/,
    ],
    ["a key with a control character", { image: "debian", "ssh-keys": `${KEY}\u001b[31m` }, /control characters/],
    [
      "a key with a control character of two bytes",
      { image: "debian", "ssh-keys": `${KEY}\u0085x` },
      /control characters/,
    ],
    ["a key with what YAML cannot hold", { image: "debian", "ssh-keys": `${KEY}\uffff` }, /control characters/],
    [
      "YAML with MIME-Version behind what is no header",
      { image: "debian", "user-data": "packages: [x]\n\nMIME-Version: 1.0\n" },
      /must begin with #cloud-config/,
    ],
    ["name servers by name", { image: "debian", dns: "ns.example.com" }, /addresses separated by commas/],
    ["an unknown network", { image: "debian", network: "static" }, /auto, dhcp or none/],
    ["an unknown growth", { image: "debian", grow: "maybe" }, /yes or no/],
  ])("%s is refused by verify", async (_what, parameters, message) => {
    await writeFile(path.join(images, "debian"), "");
    await symlink("/etc/passwd", path.join(images, "link"));
    expect(await refusal(parameters as Record<string, string>)).toMatch(message);
  });

  test("keys may have comments in any language, and lines without a key between them", async () => {
    await makeImage("debian");
    const keys = [
      ...["ssh-ed25519", "ecdsa-sha2-nistp256", "sk-ssh-ed25519@openssh.com"].map((type) => `${type} AAAAC3Nz `),
      'from="192.0.2.0/24",command="echo \\"hé\\"" ssh-rsa AAAAB3Nz ',
    ].map((key, index) => key + ["josé@müller", "ключ: # - [x]", "鍵 \\à 🔑", ""][index]);
    const parameters = { image: "debian", "ssh-keys": `# my key, é\n${keys.join("\n\n  # \u0007 next\n \n")}\n` };
    await os.definitions().validate(validateRequest("image", parameters), signal);
    const disk = await makeDisk("disk", 32);
    await install([guestDisk(disk)], parameters);
    // Of double-quoted strings, these are the same in YAML and JSON.
    const lines = (await seedAt(disk, 64, 1984)).files["user-data"]?.trimEnd().split("\n") ?? [];
    expect(lines.slice(0, 2)).toEqual(["#cloud-config", "ssh_authorized_keys:"]);
    expect(lines.slice(2).map((line) => JSON.parse(line.replace(/^ {2}- /, "")))).toEqual(keys);
    await install([guestDisk(disk)], { image: "debian", "ssh-keys": "# none yet\n" });
    expect((await seedAt(disk, 64, 1984)).files["user-data"]).toBe("#cloud-config\n");
  });

  test.each([
    ["MIME-Version", "MIME-Version: 1.0\nContent-Type: text/cloud-config\n\nx: 1\n"],
    ["Content-Type", 'Content-Type: multipart/mixed; boundary="=="\nMIME-Version: 1.0\n\n--==\n'],
    [
      "From, of mbox",
      `From nobody Thu Jan  1 00:00:00 1970\nContent-Type: multipart/mixed;\n boundary="=="\nMIME-Version: 1.0\n\n`,
    ],
    ["another header, in lines that end as a mail's", "Subject: é\r\nmime-version: 1.0\r\n\r\nx"],
    ["headers, and is long", `X-A: b\nMime-Version: 1.0\n\n${"é".repeat(50_000)}`],
  ])("user-data may begin with %s", async (_what, userData) => {
    await writeFile(path.join(images, "debian"), "");
    await os.definitions().validate(validateRequest("image", { image: "debian", "user-data": userData }), signal);
  });

  describe("the cache of images by URL", () => {
    const GIB = 1024 * MIB;
    let cache: string;
    let sum: string;
    beforeEach(async () => {
      cache = path.join(os.base, "cache");
      await mkdir(cache);
      await makeImage("debian");
      sum = (await run(["/usr/bin/sha256sum", path.join(images, "debian")])).split(" ")[0] ?? "";
    });

    /** Puts a program of a name in front of the node's, for create. */
    async function replaceTool(name: string, script: string): Promise<void> {
      const tools = path.join(os.base, "tools");
      await mkdir(tools, { recursive: true });
      const create = await readFile(path.join(OURS, "create"), "utf8");
      for (const [file, contents] of [
        [path.join(tools, name), `#!/bin/sh\n${script}\n`],
        [path.join(definition, "create"), create.replace("\n", `\nPATH=${tools}:$PATH\n`)],
      ] as const) {
        // Never over the file of a script that runs: a shell reads it as it goes.
        await rm(file, { force: true });
        await writeFile(file, contents, { mode: 0o755 });
      }
    }
    /** A curl whose script finds in $part where to write. */
    const replaceCurl = (script: string) =>
      replaceTool("curl", `while [ "$1" != --output ]; do shift; done; part=$2\n${script}`);
    const DOWNLOAD = () => `echo >>${os.base}/downloads; cp ${path.join(images, "debian")} "$part"`;
    const downloads = async () => (await readFile(path.join(os.base, "downloads"), "utf8")).length;
    async function fetchTo(diskName: string, sha256 = sum, stop = signal): Promise<void> {
      const disks = [guestDisk(await makeDisk(diskName, 16))];
      const parameters = { image: "https://images.invalid/debian.raw", sha256 };
      await os
        .definitions()
        .create(createRequest("image", { guest: guest({ name: diskName, disks }), parameters }), stop);
    }
    const name = (digit: string) => digit.repeat(64);
    /** Takes no space, though it has a size. */
    async function putCached(file: string, gib: number, usedAt: number): Promise<void> {
      await writeFile(path.join(cache, file), "");
      await truncate(path.join(cache, file), gib * GIB);
      await utimes(path.join(cache, file), usedAt, usedAt);
    }
    const limitTo = (gib: number | string) =>
      writeFile(
        path.join(definition, "image.conf"),
        `image_folder=${images}\ncache_folder=${cache}\ncache_gib=${gib}\n`,
      );

    test.each([
      ["fails", 'echo x >"$part"; exit 23', /the image cannot be fetched/],
      ["fetches something else", 'echo x >"$part"', /the image's SHA-256 is/],
    ])("a download that %s leaves nothing", async (_what, script, message) => {
      await replaceCurl(script);
      await expect(fetchTo("disk")).rejects.toThrow(message);
      expect(await readdir(cache)).toEqual([]);
    });

    test("a download that is ended leaves nothing", async () => {
      await replaceCurl(`echo x >"$part"; : >${os.base}/started; sleep 60`);
      const stop = new AbortController();
      const fetching = fetchTo("disk", sum, stop.signal);
      fetching.catch(() => undefined);
      await expect.poll(() => existsSync(path.join(os.base, "started")), { timeout: 10_000 }).toBe(true);
      expect(await readdir(cache)).toContain(`${sum}.part`);
      stop.abort();
      await expect(fetching).rejects.toThrow();
      await expect.poll(() => readdir(cache)).toEqual([]);
    });

    test("two creates of an image fetch it once, and it is all they leave", async () => {
      await replaceCurl(`sleep 1; ${DOWNLOAD()}`);
      await Promise.all([fetchTo("one"), fetchTo("two"), fetchTo("three")]);
      await fetchTo("four");
      expect(await downloads()).toBe(1);
      expect(await readdir(cache)).toEqual([sum]);
      for (const disk of ["one", "two", "three", "four"])
        expect((await bytes(path.join(os.base, disk), 8192 * SECTOR, 31)).toString()).toMatch(/^contents of the root/);
    });

    test("who waits for a download that fails fetches anew", async () => {
      await replaceCurl(
        `if mkdir ${os.base}/failed 2>/dev/null; then echo x >"$part"; sleep 1; exit 23; fi; ${DOWNLOAD()}`,
      );
      const ends = await Promise.allSettled([fetchTo("one"), fetchTo("two"), fetchTo("three")]);
      expect(ends.map(({ status }) => status).sort()).toEqual(["fulfilled", "fulfilled", "rejected"]);
      expect(await downloads()).toBe(1);
      expect(await readdir(cache)).toEqual([sum]);
    });

    test("before a download, the images used longest ago make place, and all that killed runs left", async () => {
      await putCached(name("a"), 4, 1_000);
      await putCached(name("b"), 4, 3_000);
      await putCached(name("c"), 4, 2_000);
      await putCached(`${name("d")}.part`, 90, 4_000);
      await putCached(`.${name("a")}.lock`, 0, 4_000);
      await putCached("README", 90, 500);
      await replaceCurl(DOWNLOAD());
      await fetchTo("disk");
      expect((await readdir(cache)).sort()).toEqual(["README", name("b"), name("c"), sum].sort());
      await limitTo(5);
      await rm(path.join(cache, sum));
      await fetchTo("disk");
      expect((await readdir(cache)).sort()).toEqual(["README", name("b"), sum].sort());
    });

    test("an image that another create reads, or fetches, stays", async () => {
      await limitTo(0);
      await replaceCurl(DOWNLOAD());
      await fetchTo("disk");
      await replaceTool(
        "qemu-img",
        `[ "$1" != convert ] || [ -e ${os.base}/go ] || { : >${os.base}/reads; until [ -e ${os.base}/go ]; do sleep 0.1; done; }
exec /usr/bin/qemu-img "$@"`,
      );
      const reading = fetchTo("reading");
      await expect.poll(() => existsSync(path.join(os.base, "reads")), { timeout: 10_000 }).toBe(true);
      await replaceCurl(`: >${os.base}/fetches; until [ -e ${os.base}/go ]; do sleep 0.1; done; exit 23`);
      const fetching = fetchTo("fetching", name("e"));
      fetching.catch(() => undefined);
      await expect.poll(() => existsSync(path.join(os.base, "fetches")), { timeout: 10_000 }).toBe(true);
      await replaceCurl("exit 23");
      await putCached(name("a"), 1, 1_000);
      await expect(fetchTo("third", name("f"))).rejects.toThrow(/cannot be fetched/);
      expect((await readdir(cache)).sort()).toEqual([sum, `${name("e")}.part`].sort());
      await writeFile(path.join(os.base, "go"), "");
      await reading;
      await expect(fetching).rejects.toThrow(/cannot be fetched/);
      expect(await readdir(cache)).toEqual([sum]);
    });

    test("a size that is no number is told", async () => {
      await limitTo("10G");
      expect(await refusal({ image: "https://x/y", sha256: sum })).toMatch(/cache_gib in image.conf must be a number/);
    });
  });

  test.each([
    ["a disk that is too small", { image: "debian" }, 8, /needs a disk of 16 MiB; this one has 8/],
    ["a checksum that differs", { image: "debian", sha256: "0".repeat(64) }, 32, /SHA-256 is [0-9a-f]{64}, not \*\*\*/],
    ["an image that reads another file", { image: "backed" }, 32, /refers to another file/],
    ["no partition table", { image: "plain" }, 32, /has no partition table, so the seed/],
    ["no space for the seed", { image: "mbr" }, 16, /has no space for the seed/],
  ])("%s is told by create", async (_what, parameters, diskMib, message) => {
    await makeImage("debian");
    await makeImage("plain", { table: "" });
    await makeImage("mbr", { table: "label: dos\nstart=2048, size=30720\n" });
    await run([
      "/usr/bin/qemu-img",
      "create",
      "-q",
      "-f",
      "qcow2",
      "-F",
      "raw",
      "-b",
      "/etc/passwd",
      path.join(images, "backed"),
      "1M",
    ]);
    const disk = await makeDisk("disk", diskMib);
    await expect(install([guestDisk(disk)], parameters)).rejects.toThrow(message);
  });
});
