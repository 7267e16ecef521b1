/** The guest as drivers write it to disk, parsed when a restarted agent reads it back. */
import type { GuestSpec } from "@gannet/driver-contract";
import { HYPERVISORS, parameterValue } from "@gannet/objects";
import { z } from "zod";

const network = z.object({
  name: z.string(),
  uuid: z.string(),
  subnet: z.string().nullable(),
  gateway: z.string().nullable(),
  subnet6: z.string().nullable(),
  gateway6: z.string().nullable(),
  macPrefix: z.string().nullable(),
  tags: z.array(z.string()),
});

export const guestSpecSchema: z.ZodType<GuestSpec> = z.object({
  name: z.string(),
  uuid: z.string(),
  hypervisor: z.enum(HYPERVISORS),
  maxMemoryMib: z.int(),
  startMemoryMib: z.int(),
  vcpus: z.int(),
  disks: z.array(
    z.object({
      uuid: z.string(),
      index: z.int(),
      name: z.string().nullable(),
      path: z.string(),
      kind: z.enum(["block", "file"]),
      format: z.enum(["raw", "qcow2"]),
      access: z.enum(["ro", "rw"]),
      sizeMib: z.int(),
      fileDriver: z.string().exactOptional(),
      uris: z.partialRecord(z.enum(HYPERVISORS), z.string()).exactOptional(),
      seenByAllNodes: z.boolean().exactOptional(),
    }),
  ),
  nics: z.array(
    z.object({
      uuid: z.string(),
      index: z.int(),
      name: z.string().nullable(),
      mac: z.string(),
      ip: z.string().nullable(),
      mode: z.enum(["bridged", "routed", "openvswitch", "ext", "user"]),
      link: z.string(),
      vlan: z.string(),
      network: network.optional(),
    }),
  ),
  hvparams: z.record(z.string(), parameterValue),
  networkPort: z.int().nullable(),
  tags: z.array(z.string()).exactOptional(),
  uidPool: z.array(z.tuple([z.int(), z.int()])).exactOptional(),
});
