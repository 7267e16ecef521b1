/** The life of the packages on a machine: installed, upgraded, removed and purged, in one clean root, step by step. */
import assert from "node:assert/strict";
import { access, cp, mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import type { CleanRoot } from "./clean-root.ts";

export interface LifeParts {
  readonly root: CleanRoot;
  /** Files of the packages by their names, of a former build and of this one. */
  readonly former: ReadonlyMap<string, string>;
  readonly current: ReadonlyMap<string, string>;
}

export interface Step {
  readonly name: string;
  readonly run: (parts: LifeParts) => Promise<void>;
}

const UNITS = ["gannet-master", "gannet-node", "gannet-redis", "gannet-sentinel"].map((name) => `${name}.service`);
const DEBS = "/root/debs";

/** What a machine of a cluster has, and what stands for a guest's disk and firmware there. */
const MADE_BY_USE: Readonly<Record<string, string>> = {
  "/etc/gannet/master.json": "{}",
  "/etc/gannet/node.json": "{}",
  "/etc/gannet/admin-credentials": "admin secret",
  "/etc/gannet/rapi/users": "admin secret write",
  "/var/lib/gannet/ca/ca.key": "key",
  "/var/lib/gannet/master/redis-password": "secret",
  "/var/lib/gannet/redis/redis.conf": "port 0",
  "/var/lib/gannet/node-identity/key.pem": "key",
  "/var/lib/gannet/node/commands/1": "a command",
  "/var/lib/gannet/node/kvm-hypervisor/conf/web1": "a guest",
  "/var/log/gannet/audit.log": "{}",
};
const OF_GUESTS: Readonly<Record<string, string>> = {
  "/srv/ganeti/file-storage/web1/disk0": "a disk",
  "/var/lib/gannet/node/kvm-hypervisor/nonvolatile/web1/vars": "UEFI variables",
  "/var/lib/gannet/node/lxc-hypervisor/root/box1/etc/hostname": "what is mounted there",
};

export const STEPS: readonly Step[] = [
  {
    name: "a node and master are installed from two files, and nothing is fetched",
    run: async ({ root, former }) => {
      await bring(root, "former", former);
      await root.install([`${DEBS}/former/gannet-master.deb`, `${DEBS}/former/gannet-node.deb`]);
      for (const name of ["gannet-master", "gannet-node"]) assert.ok(await isInstalled(root, name), name);
    },
  },
  {
    name: "the daemons' user and folders are there, private",
    run: async ({ root }) => {
      assert.match(await readFile(root.at("/etc/passwd"), "utf8"), /^gannet:.*:\/usr\/sbin\/nologin$/m);
      const uid = Number(/^gannet:[^:]*:(\d+):/m.exec(await readFile(root.at("/etc/passwd"), "utf8"))?.[1]);
      for (const folder of ["ca", "master", "redis", "sentinel"]) {
        const found = await stat(root.at(`/var/lib/gannet/${folder}`));
        assert.deepEqual([folder, found.uid, found.mode & 0o777], [folder, uid, 0o700]);
      }
      for (const folder of ["node", "node-identity"]) {
        const found = await stat(root.at(`/var/lib/gannet/${folder}`));
        assert.deepEqual([folder, found.uid, found.mode & 0o777], [folder, 0, 0o700]);
      }
    },
  },
  {
    name: "units are enabled, and systemd has nothing to say against them",
    run: async ({ root }) => {
      for (const unit of UNITS)
        assert.equal((await root.run(["systemctl", "is-enabled", unit])).stdout.trim(), "enabled");
      const { stdout, stderr } = await root.run([
        "systemd-analyze",
        "verify",
        "--man=no",
        ...UNITS,
        "gannet-guests.slice",
      ]);
      assert.equal(stdout + stderr, "");
    },
  },
  {
    name: "each program runs by the Node that came with it",
    run: async ({ root }) => {
      assert.match((await root.run(["gannet-admin", "--help"])).stdout, /init/);
      assert.match((await root.run(["gannet-node", "--help"])).stdout, /join/);
      assert.match((await root.run(["gnt", "--help"])).stdout, /instance/);
      assert.match((await root.run(["gnt-instance", "--help"])).stdout, /gnt instance/);
      assert.equal((await root.run(["/usr/lib/gannet/node", "--version"])).stdout.trim(), process.version);
      await assert.rejects(access(root.at("/usr/bin/node")));
    },
  },
  {
    name: "gannet-admin init makes a cluster with the packages' own programs",
    run: async ({ root }) => {
      const names = ["--name", "cluster.example.com", "--node-name", "node1.example.com"];
      const addresses = ["--node-address", "127.0.0.2", "--master-ip", "127.0.0.3", "--master-netdev", "lo"];
      const { stdout } = await root.run([
        "gannet-admin",
        "init",
        ...names,
        ...addresses,
        "--enabled-hypervisors",
        "fake",
      ]);
      assert.match(stdout, /cluster cluster\.example\.com is made/);
      const owner = await stat(root.at("/var/lib/gannet/redis/appendonlydir"));
      assert.equal(owner.uid, (await stat(root.at("/var/lib/gannet/redis"))).uid);
      assert.notEqual(owner.uid, 0);
    },
  },
  {
    name: "an upgrade restarts the daemons alone, and keeps what the operator chose",
    run: async ({ root, current }) => {
      for (const [file, text] of Object.entries({ ...MADE_BY_USE, ...OF_GUESTS })) await put(root, file, text);
      await put(root, "/etc/default/gannet-node", "# the operator's own\n");
      await root.run(["systemctl", "disable", "gannet-sentinel.service"]);
      await bring(root, "current", current);
      const debs = ["gannet-master", "gannet-node"].map((name) => `${DEBS}/current/${name}.deb`);
      const asked = await root.underPretendedSystemd(() => root.install(debs));
      const actions = asked.filter(
        (line) => /\b(start|stop|restart|kill|isolate)\b/.test(line) && line.includes("gannet"),
      );
      assert.ok(
        actions.some((line) => /restart.*gannet-node\.service/.test(line)),
        asked.join("\n"),
      );
      assert.ok(
        actions.some((line) => /restart.*gannet-master\.service/.test(line)),
        asked.join("\n"),
      );
      assert.deepEqual(
        actions.filter((line) => /stop|kill|slice|scope|redis|sentinel/.test(line)),
        [],
      );
      assert.ok(asked.some((line) => line.includes("daemon-reload")));
      assert.equal(
        (await root.run(["systemctl", "is-enabled", "gannet-sentinel.service"], [0, 1])).stdout.trim(),
        "disabled",
      );
      assert.equal(await readFile(root.at("/etc/default/gannet-node"), "utf8"), "# the operator's own\n");
      await hasAll(root, { ...MADE_BY_USE, ...OF_GUESTS });
    },
  },
  {
    name: "gannet-cli goes beside them, and gnt outlives it",
    run: async ({ root }) => {
      await root.install([`${DEBS}/current/gannet-cli.deb`]);
      assert.match((await root.run(["gnt", "--help"])).stdout, /instance/);
      await root.run(["dpkg", "--purge", "gannet-cli"]);
      assert.match((await root.run(["gnt-job", "--help"])).stdout, /gnt job/);
      await assert.rejects(access(root.at("/usr/lib/gannet-cli")));
    },
  },
  {
    name: "removed, the packages leave what they were given and what they made",
    run: async ({ root }) => {
      await root.run(["dpkg", "--remove", "gannet-master", "gannet-node"]);
      await hasAll(root, { ...MADE_BY_USE, ...OF_GUESTS });
      for (const program of ["/usr/lib/gannet", "/usr/sbin/gannet-admin", "/usr/sbin/gannet-node", "/usr/bin/gnt"])
        await assert.rejects(access(root.at(program)), program);
    },
  },
  {
    name: "purged, nothing of them is left but what is guests'",
    run: async ({ root }) => {
      await root.run(["dpkg", "--purge", "gannet-master", "gannet-node"]);
      for (const file of Object.keys(MADE_BY_USE)) await assert.rejects(access(root.at(file)), file);
      await hasAll(root, OF_GUESTS);
      const left = [
        ...(await namesBelow(root, "/etc")),
        ...(await namesBelow(root, "/usr")),
        ...(await namesBelow(root, "/var/lib/systemd")),
      ];
      assert.deepEqual(
        left.filter((name) => /gannet|\/gnt/.test(name)),
        [],
      );
      assert.deepEqual((await readdir(root.at("/var/lib/gannet"))).sort(), ["node"]);
    },
  },
];

/** Copies, under names without a version. */
async function bring(
  root: CleanRoot,
  build: "former" | "current",
  packages: ReadonlyMap<string, string>,
): Promise<void> {
  await mkdir(root.at(path.join(DEBS, build)), { recursive: true });
  for (const [name, file] of packages) await cp(file, root.at(path.join(DEBS, build, `${name}.deb`)));
}

async function isInstalled(root: CleanRoot, name: string): Promise<boolean> {
  return (await root.run(["dpkg", "--status", name], [0, 1])).stdout.includes("Status: install ok installed");
}

async function put(root: CleanRoot, file: string, text: string): Promise<void> {
  await mkdir(path.dirname(root.at(file)), { recursive: true });
  await writeFile(root.at(file), text);
}

async function hasAll(root: CleanRoot, files: Readonly<Record<string, string>>): Promise<void> {
  for (const [file, text] of Object.entries(files)) assert.equal(await readFile(root.at(file), "utf8"), text, file);
}

async function namesBelow(root: CleanRoot, folder: string): Promise<readonly string[]> {
  return (await readdir(root.at(folder), { recursive: true })).map((name) => path.join(folder, name));
}
