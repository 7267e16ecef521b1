import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import type { BlockDeviceSpec } from "@gannet/driver-contract";
import {
  CommandError,
  ConfigurationError,
  HypervisorError,
  NodeUnreachable,
  OpExecError,
  OpPrereqError,
  StaleEpoch,
} from "@gannet/errors";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import {
  clientOf,
  createTestCluster,
  disk,
  instance,
  runner,
  startTestAgent,
  step,
  type TestAgent,
  type TestCluster,
  untilAborted,
} from "../agent-fixture.ts";

let cluster: TestCluster;
let agent: TestAgent;
let runs = 0;

beforeAll(async () => {
  cluster = await createTestCluster();
});
afterAll(() => cluster.remove());
beforeEach(async () => {
  runs += 1;
  agent = await startTestAgent(cluster, { leadersFolder: path.join(cluster.root, `leaders-${runs}`) });
});
afterEach(() => agent.stop());

async function restart(): Promise<void> {
  await agent.stop();
  agent = await startTestAgent(cluster, { leadersFolder: agent.leadersFolder });
}
const stopRequest = { name: "web1.gannet.test", hypervisor: "fake", force: false, timeoutMs: 1_000 };
const outcome = (promise: Promise<unknown>) => promise.catch((error: unknown) => error);

test("a disk's storage notes its instance's new name, where it notes any", async () => {
  await agent.client.blockDevices.setInfo({ step: step(), device: disk() });
  const setInfo = vi.fn(async (_device: BlockDeviceSpec) => {});
  Object.assign(agent.disks, { setInfo });
  const request = { step: step(), device: { ...disk(), instanceName: "web9.gannet.test" } };
  await agent.client.blockDevices.setInfo(request);
  await agent.client.blockDevices.setInfo(request);
  expect(setInfo).toHaveBeenCalledTimes(1);
  expect(setInfo.mock.calls[0]?.[0]).toMatchObject({ instanceName: "web9.gannet.test", uuid: disk().uuid });
});

describe("epochs", () => {
  test("a lower epoch than any seen is refused, also by a restarted agent", async () => {
    await agent.client.blockDevices.create({ step: step({ epoch: 7 }), device: disk() });
    await expect(agent.client.blockDevices.create({ step: step({ epoch: 6 }), device: disk() })).rejects.toThrow(
      StaleEpoch,
    );
    await restart();
    await expect(agent.client.blockDevices.create({ step: step({ epoch: 6 }), device: disk() })).rejects.toThrow(
      "Epoch 6 is over: this node serves the leader of epoch 7",
    );
    await agent.client.blockDevices.create({ step: step({ epoch: 7 }), device: disk() });
    expect(agent.disks.create).toHaveBeenCalledTimes(1);
  });

  test("an epoch is on disk before anything is done under it", async () => {
    let stored = "";
    agent.disks.create.mockImplementation(async () => {
      stored = await readFile(path.join(agent.leadersFolder, "epoch"), "utf8");
    });
    await agent.client.blockDevices.create({ step: step({ epoch: 41 }), device: disk() });
    expect(stored).toBe("41\n");
  });

  test("watching raises the epoch as well", async () => {
    const updates = agent.client.node.watch({ epoch: 9, heartbeatMs: 1_000 })[Symbol.asyncIterator]();
    await updates.next();
    await expect(agent.client.instances.stop({ step: step({ epoch: 8 }), ...stopRequest })).rejects.toThrow(StaleEpoch);
    await expect(
      agent.client.node.watch({ epoch: 8, heartbeatMs: 1_000 })[Symbol.asyncIterator]().next(),
    ).rejects.toThrow(StaleEpoch);
    await updates.return?.();
  });

  test("an agent whose stored epoch is damaged does not start", async () => {
    await agent.stop();
    await writeFile(path.join(agent.leadersFolder, "epoch"), "\0\0");
    await expect(startTestAgent(cluster, { leadersFolder: agent.leadersFolder })).rejects.toThrow(ConfigurationError);
    await writeFile(path.join(agent.leadersFolder, "epoch"), "1\n");
    await restart();
  });
});

describe("repeated steps", () => {
  test("are answered as the first time, also by a restarted agent", async () => {
    const request = { step: step({ step: "start" }), instance: instance(), paused: false };
    const first = await agent.client.instances.start(request);
    expect(first).toMatchObject({ name: "web1.gannet.test", status: "running", memoryMib: 256, vcpus: 2 });
    expect(await agent.client.instances.start(request)).toEqual(first);
    expect(agent.hypervisor.start).toHaveBeenCalledTimes(1);
    await restart();
    expect(await agent.client.instances.start(request)).toEqual(first);
    expect(agent.hypervisor.start).not.toHaveBeenCalled();
  });

  test("are done again when the node has booted anew, where nothing is left of them", async () => {
    const start = { step: step({ step: "start" }), instance: instance(), paused: false };
    const create = { step: step({ step: "create-disk/0" }), device: disk() };
    await agent.client.blockDevices.create(create);
    const first = await agent.client.instances.start(start);
    await agent.stop();
    const journal = path.join(agent.leadersFolder, "steps");
    await writeFile(journal, (await readFile(journal, "utf8")).replaceAll(/"boot":"[^"]+"/g, '"boot":"another"'));
    agent = await startTestAgent(cluster, { leadersFolder: agent.leadersFolder });
    await agent.client.blockDevices.create(create);
    expect(agent.disks.create).not.toHaveBeenCalled();
    const again = await agent.client.instances.start(start);
    expect(agent.hypervisor.start).toHaveBeenCalledTimes(1);
    expect(again.asOfMs).toBeGreaterThan(first.asOfMs);
  });

  test("that failed fail again in the same way, and another step tries anew", async () => {
    agent.hypervisor.start.mockRejectedValueOnce(new HypervisorError("qemu exited at once: no such machine"));
    const request = { step: step({ step: "start" }), instance: instance(), paused: false };
    for (let i = 0; i < 2; i += 1) {
      const error = await outcome(agent.client.instances.start(request));
      expect(error).toBeInstanceOf(HypervisorError);
      expect(error).toMatchObject({ message: "qemu exited at once: no such machine" });
    }
    expect(agent.hypervisor.start).toHaveBeenCalledTimes(1);
    await agent.client.instances.start({ ...request, step: { ...request.step, step: "start/again" } });
    expect(agent.hypervisor.start).toHaveBeenCalledTimes(2);
  });

  test("are joined while the first is under way", async () => {
    let finish = () => {};
    agent.disks.create.mockImplementation(() => new Promise((resolve) => (finish = resolve)));
    const request = { step: step({ step: "create-disk/0" }), device: disk() };
    const first = agent.client.blockDevices.create(request);
    await vi.waitFor(() => expect(agent.disks.create).toHaveBeenCalled());
    const other = clientOf(cluster, agent.agent.port);
    const second = other.blockDevices.create(request);
    finish();
    expect(await Promise.all([first, second])).toEqual([{}, {}]);
    expect(agent.disks.create).toHaveBeenCalledTimes(1);
    other.close();
  });

  test("of different jobs, opcodes, names and methods are different steps", async () => {
    const base = step({ step: "x" });
    for (const one of [base, { ...base, jobId: 2 }, { ...base, opcodeIndex: 1 }, { ...base, step: "y" }])
      await agent.client.blockDevices.create({ step: one, device: disk() });
    await agent.client.blockDevices.remove({ step: base, device: disk() });
    expect(agent.disks.create).toHaveBeenCalledTimes(4);
    expect(agent.disks.remove).toHaveBeenCalledTimes(1);
  });
});

test("executions are noted before they begin, answers are not", async () => {
  await agent.stop();
  const executionsFile = path.join(cluster.root, `executions-${runs}.log`);
  const startNoting = () => startTestAgent(cluster, { leadersFolder: agent.leadersFolder, executionsFile });
  const noted = async () =>
    (await readFile(executionsFile, "utf8"))
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
  agent = await startNoting();
  let whileWorking: unknown;
  agent.disks.create.mockImplementation(async () => {
    whileWorking = await noted();
  });
  const first = { job: 7, opcode: 2, step: "create-disk/0", epoch: 3, method: expect.stringContaining("/Create") };
  const request = { step: step({ jobId: 7, opcodeIndex: 2, step: "create-disk/0", epoch: 3 }), device: disk() };
  await agent.client.blockDevices.create(request);
  expect(whileWorking).toEqual([{ ...first, at: expect.any(Number) }]);
  await agent.client.blockDevices.create(request);
  await agent.stop();
  agent = await startNoting();
  await agent.client.blockDevices.create(request);
  await agent.client.blockDevices.create({ ...request, step: { ...request.step, step: "other" } });
  expect(await noted()).toEqual([first, { ...first, step: "other" }].map((line) => expect.objectContaining(line)));
});

describe("work on one resource", () => {
  test("is done one after another, on different ones at once", async () => {
    const running: string[] = [];
    const finish: (() => void)[] = [];
    agent.disks.create.mockImplementation((device) => {
      running.push(device.uuid);
      return new Promise((resolve) => finish.push(resolve));
    });
    const otherDisk = disk({ uuid: "bbbbbbbb-0000-4000-8000-000000000000", logicalId: ["loop", "/srv/other"] });
    const first = agent.client.blockDevices.create({ step: step(), device: disk() });
    await vi.waitFor(() => expect(running).toHaveLength(1));
    const second = agent.client.blockDevices.create({ step: step(), device: disk() });
    const third = agent.client.blockDevices.create({ step: step(), device: otherDisk });
    await vi.waitFor(() => expect(running).toEqual([disk().uuid, otherDisk.uuid]));
    finish[0]?.();
    await first;
    await vi.waitFor(() => expect(running).toHaveLength(3));
    finish[1]?.();
    finish[2]?.();
    await Promise.all([second, third]);
  });

  test("of a replaced leader is aborted, and has ended, before a new leader's begins", async () => {
    const events: string[] = [];
    agent.disks.create.mockImplementation(async (_device, signal) => {
      events.push("create begins");
      try {
        await runner.run({ argv: ["/bin/sleep", "60"], timeoutMs: 60_000, signal });
      } finally {
        events.push("create has ended");
      }
    });
    agent.disks.remove.mockImplementation(async () => {
      events.push("remove begins");
    });
    const created = outcome(agent.client.blockDevices.create({ step: step({ epoch: 1 }), device: disk() }));
    await vi.waitFor(() => expect(events).toEqual(["create begins"]));
    await agent.client.blockDevices.remove({ step: step({ epoch: 2 }), device: disk() });
    expect(events).toEqual(["create begins", "create has ended", "remove begins"]);
    expect(await created).toBeInstanceOf(StaleEpoch);
  });

  test("of a replaced leader that still waits never begins", async () => {
    let finish = () => {};
    agent.hypervisor.stop.mockImplementationOnce(() => new Promise((resolve) => (finish = resolve)));
    const first = outcome(agent.client.instances.stop({ step: step({ epoch: 1 }), ...stopRequest }));
    await vi.waitFor(() => expect(agent.hypervisor.stop).toHaveBeenCalled());
    const waiting = outcome(
      agent.client.instances.start({ step: step({ epoch: 1 }), instance: instance(), paused: false }),
    );
    const newer = agent.client.instances.stop({ step: step({ epoch: 2 }), ...stopRequest });
    expect(await waiting).toBeInstanceOf(StaleEpoch);
    finish();
    await newer;
    await first;
    expect(agent.hypervisor.start).not.toHaveBeenCalled();
  });

  test("a start holds the instance's disks as well", async () => {
    agent.hypervisor.start.mockImplementation((_guest, _options, signal) => untilAborted(signal));
    const started = outcome(
      agent.client.instances.start({ step: step({ epoch: 1 }), instance: instance(), paused: false }),
    );
    await vi.waitFor(() => expect(agent.hypervisor.start).toHaveBeenCalled());
    await agent.client.blockDevices.remove({ step: step({ epoch: 2 }), device: disk() });
    expect(await started).toBeInstanceOf(StaleEpoch);
  });
});

describe("callers that go", () => {
  test("take their work with them, to the last process, and it has no answer", async () => {
    const pidFile = path.join(cluster.root, "grandchild");
    agent.os.create.mockImplementationOnce(async (_request, signal) => {
      const script = `sh -c 'trap "" TERM; echo $$ > ${pidFile}; while :; do sleep 1; done' & wait`;
      await runner.run({ argv: ["/bin/sh", "-c", script], timeoutMs: 60_000, signal });
    });
    const request = {
      ...{ step: step({ step: "os-create" }), instance: instance(), os: "noop", parameters: {}, reinstall: false },
      ...{ debugLevel: 0, beparams: {}, ctime: 0, mtime: 0, primaryNodeUuid: "n1", secondaryNodeUuids: [] },
    };
    const abort = new AbortController();
    const created = outcome(agent.client.os.create(request, { signal: abort.signal }));
    const pid = await vi.waitFor(async () => {
      const text = await readFile(pidFile, "utf8");
      expect(text).toMatch(/^\d+\n$/);
      return text.trim();
    });
    abort.abort(new Error("canceled"));
    expect(await created).toMatchObject({ message: "canceled" });
    await vi.waitFor(() => expect(readFile(`/proc/${pid}/stat`)).rejects.toThrow("ENOENT"), { timeout: 5_000 });

    expect(await agent.client.os.create(request)).toEqual({});
    expect(agent.os.create).toHaveBeenCalledTimes(2);
  });

  test("leave their work to others that joined it", async () => {
    let finish = () => {};
    agent.disks.create.mockImplementation(
      (_device, signal) =>
        new Promise((resolve, reject) => {
          finish = resolve;
          signal.addEventListener("abort", () => reject(new CommandError("aborted")));
        }),
    );
    const request = { step: step(), device: disk() };
    const abort = new AbortController();
    const first = outcome(agent.client.blockDevices.create(request, { signal: abort.signal }));
    await vi.waitFor(() => expect(agent.disks.create).toHaveBeenCalled());
    const other = clientOf(cluster, agent.agent.port);
    // The second call is known to have joined when one after it on the same connection is answered.
    const second = other.blockDevices.create(request);
    await other.blockDevices.status({ device: disk() });
    abort.abort(new Error("canceled"));
    expect(await first).toMatchObject({ message: "canceled" });
    await agent.client.blockDevices.status({ device: disk() });
    finish();
    expect(await second).toEqual({});
    other.close();
  });

  test("a deadline that passes aborts the work", async () => {
    let reason: unknown;
    agent.disks.grow.mockImplementation(async (_device, _size, signal) => {
      reason = await outcome(untilAborted(signal));
    });
    const late = agent.client.blockDevices.grow({ step: step(), device: disk(), newSizeMib: 256 }, { timeoutMs: 200 });
    expect(await outcome(late)).toBeInstanceOf(NodeUnreachable);
    await vi.waitFor(() => expect(reason).toBeDefined());
  });
});

describe("requests that are not acceptable", () => {
  const bad = (changes: Partial<Parameters<typeof disk>[0]>) => ({ step: step(), device: disk(changes) });
  test.each([
    ["no step", { step: undefined, device: disk() }, /names no step/],
    ["no epoch", { step: step({ epoch: 0 }), device: disk() }, /no epoch/],
    ["a step without a name", { step: step({ step: "" }), device: disk() }, /not a step's name/],
    ["no disk", { step: step(), device: undefined }, /disk: Invalid input/],
    ["an unknown template", bad({ template: "floppy" }), /disk.template: Invalid option/],
    ["a template without a driver", bad({ template: "plain" }), /not supported on this node/],
    ["a UUID that is a path", bad({ uuid: "../../etc" }), /disk.uuid: /],
    ["a NUL in the logical id", bad({ logicalId: ["loop", "/srv/a\0b"] }), /NUL/],
    ["a path as instance name", bad({ instanceName: "../web1" }), /disk.instanceName: is no host name/],
    ["an unknown mode", bad({ mode: "rwx" }), /disk.mode: /],
  ])("%s", async (_what, request, message) => {
    const error = await outcome(agent.client.blockDevices.create(request));
    expect(error).toBeInstanceOf(OpPrereqError);
    expect(error).toMatchObject({ code: "wrong_input", message: expect.stringMatching(message) });
    expect(agent.disks.create).not.toHaveBeenCalled();
  });

  test.each(["web1;reboot", "-rf", "a/b", "web1 ", "x".repeat(300), "", "WEB1", "web1."])(
    "the instance name %j",
    async (name) => {
      for (const call of [
        () => agent.client.instances.start({ step: step(), instance: instance({ name }), paused: false }),
        () => agent.client.instances.stop({ step: step(), ...stopRequest, name }),
        () => agent.client.instances.state({ name, hypervisor: "fake" }),
        () => agent.client.instances.console({ name, hypervisor: "fake" }),
      ])
        await expect(call()).rejects.toThrow(OpPrereqError);
    },
  );

  test.each(["kvm", "vmware", "__proto__"])("the hypervisor %j, which is not enabled", async (hypervisor) => {
    await expect(agent.client.instances.state({ name: "web1", hypervisor })).rejects.toThrow(OpPrereqError);
  });
});

describe("drivers", () => {
  test("get the guest with its disks attached, and parameters of their kinds", async () => {
    await agent.client.instances.start({
      step: step(),
      paused: true,
      instance: instance({
        disks: [
          disk({ name: "root" }),
          disk({ uuid: "bbbbbbbb-0000-4000-8000-000000000000", logicalId: ["blktap", "/srv/two"], mode: "ro" }),
        ],
        nics: [
          {
            uuid: "cccccccc-0000-4000-8000-000000000000",
            name: "",
            mac: "aa:00:00:00:00:01",
            ip: "",
            mode: "bridged",
            link: "br0",
            vlan: "",
            network: {
              uuid: "dddddddd-0000-4000-8000-000000000000",
              name: "office",
              subnet: "192.0.2.0/24",
              gateway: "",
              subnet6: "",
              gateway6: "",
              macPrefix: "",
              tags: ["wired"],
            },
            metadata: undefined,
          },
        ],
        hvparams: {
          acpi: { value: { $case: "flag", value: true } },
          kernel_path: { value: { $case: "text", value: "" } },
          cpu_mask: { value: undefined },
        },
        networkPort: 11000,
        tags: ["web"],
        uidPool: [{ first: 4000, last: 4019 }],
      }),
    });
    const [guest, options] = agent.hypervisor.start.mock.calls[0] ?? [];
    expect(options).toEqual({ paused: true });
    expect(guest).toMatchObject({
      hvparams: { acpi: true, kernel_path: "", cpu_mask: null },
      networkPort: 11000,
      disks: [
        {
          index: 0,
          name: "root",
          path: "/srv/ganeti/file-storage/web1/disk0",
          kind: "file",
          format: "raw",
          access: "rw",
          fileDriver: "loop",
        },
        { index: 1, name: null, path: "/srv/two", access: "ro", fileDriver: "blktap" },
      ],
      nics: [
        {
          index: 0,
          name: null,
          ip: null,
          mode: "bridged",
          link: "br0",
          network: { name: "office", subnet: "192.0.2.0/24", gateway: null, tags: ["wired"] },
        },
      ],
      tags: ["web"],
      uidPool: [[4000, 4019]],
    });
    expect(agent.disks.assemble).toHaveBeenCalledTimes(2);
  });

  test("are asked for state and console without a step", async () => {
    expect(await agent.client.instances.state({ name: "gone.gannet.test", hypervisor: "fake" })).toMatchObject({
      name: "gone.gannet.test",
      status: "shutdown",
      memoryMib: 0,
    });
    expect(await agent.client.instances.console({ name: "web1", hypervisor: "fake" })).toMatchObject({
      kind: "msg",
      message: "console of web1",
    });
    expect(await agent.client.blockDevices.status({ device: disk() })).toEqual({ exists: true, sizeMib: 128 });
    await agent.client.instances.validate({ instance: instance() });
    expect(agent.disks.assemble).not.toHaveBeenCalled();
  });

  test("a delay lasts as long as asked", async () => {
    const startedAt = performance.now();
    await agent.client.node.delay({ step: step(), durationMs: 150 });
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(149);
  });
});

describe.skipIf(process.getuid?.() !== 0)("on a full disk", () => {
  let place: string;
  beforeEach(async () => {
    place = path.join(cluster.root, `small-${runs}`);
    await mkdir(place);
    await runner.run({ argv: ["/bin/mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], timeoutMs: 10_000 });
    await agent.stop();
    agent = await startTestAgent(cluster, { leadersFolder: path.join(place, "leaders") });
    await agent.client.blockDevices.create({ step: step(), device: disk() });
    await expect(writeFile(path.join(place, "big"), Buffer.alloc(1024 * 1024))).rejects.toThrow("ENOSPC");
  });
  afterEach(() => runner.run({ argv: ["/bin/umount", "-l", place], timeoutMs: 10_000 }));

  /** What the file has of its last block takes some more answers. */
  async function untilRefused(): Promise<unknown> {
    for (let count = 0; count < 200; count += 1) {
      const error = await outcome(agent.client.blockDevices.create({ step: step(), device: disk() }));
      if (error instanceof Error) return error;
    }
    return undefined;
  }

  test("an answer that cannot be kept fails its step by name, and what fails by itself says why", async () => {
    const refused = await untilRefused();
    expect(refused).toBeInstanceOf(OpExecError);
    expect((refused as Error).message).toMatch(/answer of a step cannot be kept in .*steps on this node: ENOSPC/);
    agent.disks.create.mockRejectedValue(new CommandError("lvcreate failed"));
    await expect(agent.client.blockDevices.create({ step: step(), device: disk() })).rejects.toThrow("lvcreate failed");

    await rm(path.join(place, "big"));
    agent.disks.create.mockResolvedValue(undefined);
    await agent.client.blockDevices.create({ step: step(), device: disk() });
  });
});
