/**
 * What scripted nodes do not answer and anything may ask them: migrations, snapshots and exports. A guest moves, a
 * volume is copied; DRBD ends are not joined as two primaries and there is no export folder, so that what needs those
 * fails halfway and has to be undone.
 */
import { BlockDeviceError, OpPrereqError } from "@gannet/errors";
import type { BlockDevice, ConnectRequest, MigrateRequest, MigrationProgress } from "@gannet/rpc";
import type { ScriptedNode, ScriptedNodes } from "../logical-units/scripted-nodes.ts";

type Methods = Readonly<Record<string, (request: never) => unknown>>;

/** Give all nodes the rest of their methods. */
export function completeNodes(nodes: ScriptedNodes): void {
  for (const node of nodes.all()) {
    const { client } = node;
    Object.assign(client, {
      blockDevices: withMethods(client.blockDevices, blockDevices(nodes, node)),
      instances: withMethods(client.instances, migrations(nodes, node)),
      transfers: withMethods(client.transfers, exports(client.transfers)),
    });
  }
}

function withMethods(service: object, methods: Methods): object {
  return new Proxy(service, { get: (target, name) => methods[String(name)] ?? Reflect.get(target, name) });
}

function migrations(nodes: ScriptedNodes, source: ScriptedNode): Methods {
  return {
    migrationInfo: async () => ({ info: "" }),
    acceptMigration: async () => ({ port: 1 }),
    finishMigrationSource: async () => ({}),
    finishMigrationTarget: async () => ({}),
    async *migrate({ instance, targetNode }: MigrateRequest): AsyncGenerator<MigrationProgress> {
      const name = instance?.name ?? "";
      source.guests.delete(name);
      nodes.named(targetNode).guests.add(name);
      yield { status: "completed", transferredBytes: 1, totalBytes: 1, problem: "" };
    },
  };
}

function blockDevices(nodes: ScriptedNodes, { volumes, ends }: ScriptedNode): Methods {
  return {
    connect: async ({ device, dualPrimary }: ConnectRequest) => {
      if (dualPrimary) throw new BlockDeviceError("the ends of these mirrors are joined as primary and secondary only");
      const link = device?.link;
      const end = ends.get(link?.localMinor ?? -1);
      if (link === undefined || end === undefined || end.disk !== device?.uuid)
        throw new BlockDeviceError("it is not up");
      ends.set(link.localMinor, { ...end, link });
      nodes.syncs.set(link.port, 1);
      return {};
    },
    disconnect: async () => ({}),
    snapshot: async ({ device, sizeMib }: { readonly device: BlockDevice; readonly sizeMib: number }) => {
      const [group = "", name = ""] = device.logicalId;
      const snapshot = { ...device, uuid: `${device.uuid}-held`, logicalId: [group, `${name}.held`], children: [] };
      volumes.set(snapshot.logicalId.join("/"), { owner: snapshot.uuid, sizeMib, inUse: false, contents: "" });
      return snapshot;
    },
  };
}

function exports(transfers: ScriptedNode["client"]["transfers"]): Methods {
  type Import = Parameters<typeof transfers.startImport>[0];
  return {
    startImport: async (request: Import) => {
      if (request.target?.end?.$case === "disk") return await transfers.startImport(request);
      throw new BlockDeviceError("there is no export folder on this node");
    },
    finalizeExport: async () => ({}),
    removeExport: async () => ({}),
    listExports: async () => ({ instanceNames: [] }),
    exportInfo: async ({ export: name }: { readonly export: string }) => {
      throw new OpPrereqError(`There is no export of ${name} on this node`, "unknown_entity");
    },
    createCertificate: async () => ({ name: "x509-1", certificatePem: "" }),
    removeCertificate: async () => ({}),
  };
}
