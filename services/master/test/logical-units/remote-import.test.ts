/** OP_INSTANCE_CREATE of mode remote-import and OP_BACKUP_EXPORT of mode remote: each step, and what a failure leaves. */
import { BlockDeviceError } from "@gannet/errors";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { handshake, signCertificate, signName, signTarget } from "../../src/logical-units/backup/cluster-trust.ts";
import { DOMAIN_SECRET, type LogicalUnitBed, NODES, startLogicalUnitBed } from "./logical-unit-bed.ts";
import { CERTIFICATE as TRANSFER_CERTIFICATE } from "./scripted-exports.ts";

const [NODE1, NODE2] = NODES;
const NAME = "web1.gnt.test";
const CERTIFICATE = signCertificate(DOMAIN_SECRET, TRANSFER_CERTIFICATE);

let bed: LogicalUnitBed;
let transfers = 0;
beforeAll(async () => {
  bed = await startLogicalUnitBed();
});
afterAll(() => bed[Symbol.asyncDispose]());
afterEach(async () => {
  bed.nodes.failures = [];
  bed.nodes.onCall = undefined;
  for (const { name } of bed.view.instances.values())
    await bed.succeed("OP_INSTANCE_REMOVE", { instance_name: name, shutdown_timeout: 0 });
  expect(bed.nodes.leftovers()).toEqual([]);
  bed.nodes.calls.length = 0;
});

const called = (method: string) => bed.nodes.calls.filter((call) => call.method === method);

describe("an import", () => {
  const creation = (more: object = {}) => ({
    ...{ instance_name: NAME, mode: "remote-import", disk_template: "drbd", disks: [{ size: 1024 }], nics: [{}] },
    ...{ os_type: "noop", pnode: NODE1, snode: NODE2, hypervisor: "fake", source_handshake: handshake(DOMAIN_SECRET) },
    ...{ source_x509_ca: CERTIFICATE, source_instance_name: "old.gnt.test", source_shutdown_timeout: 20, ...more },
  });

  /** Whoever is told where to send to sends. */
  function sending(): void {
    let follows = 0;
    bed.nodes.onCall = async ({ method }) => {
      if (method === "transfers.startImport") transfers += 1;
      if (method === "transfers.follow") follows += 1;
      // First it is asked for the port, then for the end.
      if (method === "transfers.follow" && follows === 2) bed.nodes.sendTransfer(transfers, "from afar");
    };
  }

  test("fills the disks with what is sent, tells the guest its new name, and starts it", async () => {
    sending();
    await bed.succeed("OP_INSTANCE_CREATE", creation());
    const [receiving] = called("transfers.startImport");
    expect(receiving?.request).toMatchObject({
      address: "192.0.2.1",
      options: { connectTimeoutSeconds: 200, peerCertificatePem: TRANSFER_CERTIFICATE },
    });
    expect(called("os.create")).toEqual([]);
    expect(called("os.rename")[0]?.request).toMatchObject({ oldName: "old.gnt.test" });
    expect([...bed.nodes.named(NODE1).volumes.values()].map(({ contents }) => contents)).toContain("from afar");
    expect(bed.instance(NAME)).toMatchObject({ adminState: "up" });
    expect(bed.nodes.named(NODE1).transferKeys.size, "its key is gone").toBe(0);
    expect(await bed.ledgerText()).not.toContain(DOMAIN_SECRET);
  });

  test.each(["create", "transfers.createCertificate", "transfers.startImport", "transfers.follow", "instances.start"])(
    "that fails at %s leaves nothing",
    async (method) => {
      sending();
      bed.nodes.failures = [{ node: NODE1, method, error: new BlockDeviceError("it was told to fail") }];
      expect((await bed.run("OP_INSTANCE_CREATE", creation())).status).toBe("error");
      expect(bed.view.findInstance(NAME)).toBeUndefined();
      expect(bed.nodes.leftovers()).toEqual([]);
    },
  );
});

describe("an export", () => {
  const target = signTarget(DOMAIN_SECRET, 0, { host: "203.0.113.9", port: 4321, magic: "some-magic" });

  async function prepared() {
    await bed.succeed("OP_INSTANCE_CREATE", {
      ...{ instance_name: NAME, mode: "create", disk_template: "plain", disks: [{ size: 1024 }], nics: [{}] },
      ...{ os_type: "noop", pnode: NODE1, hypervisor: "fake" },
    });
    const { result } = await bed.succeed("OP_BACKUP_PREPARE", { instance_name: NAME, mode: "remote" });
    const { x509_key_name } = result as { readonly x509_key_name: unknown };
    bed.nodes.calls.length = 0;
    return (more: object = {}) => ({
      ...{ instance_name: NAME, mode: "remote", target_node: [target], x509_key_name },
      ...{ destination_x509_ca: CERTIFICATE, ...more },
    });
  }

  test("that cannot be sent leaves the instance running, and nothing of it", async () => {
    const exported = await prepared();
    bed.nodes.failures = [{ node: NODE1, method: "transfers.startExport", error: new BlockDeviceError("no luck") }];
    expect((await bed.run("OP_BACKUP_EXPORT", exported({ remove_instance: true }))).status).toBe("error");
    expect(called("transfers.startExport")[0]?.request).toMatchObject({
      host: "203.0.113.9",
      port: 4321,
      options: { magic: "some-magic", peerCertificatePem: TRANSFER_CERTIFICATE },
    });
    expect(bed.nodes.named(NODE1).guests).toEqual(new Set([NAME]));
    expect(bed.nodes.named(NODE1).volumes.size, "no snapshot").toBe(1);
    expect(bed.nodes.named(NODE1).transferKeys.size, "no key").toBe(0);
  });

  test("by a key that this cluster has not named is refused before the instance is stopped", async () => {
    const exported = await prepared();
    const foreign = signName("another secret", "x509-0000000000000000");
    const { result } = await bed.run("OP_BACKUP_EXPORT", exported({ x509_key_name: foreign }));
    expect(result).toMatchObject(["OpPrereqError", [expect.stringContaining("HMAC for X509 key name"), "wrong_input"]]);
    expect(called("instances.stop")).toEqual([]);
    for (const { transferKeys } of bed.nodes.all()) transferKeys.clear();
  });
});
