/** The guest as drivers write it to disk, parsed when a restarted agent reads it back. */
import type { GuestSpec } from "@gannet/driver-contract";
import { HYPERVISORS, parameterValue } from "@gannet/objects";
import { z } from "zod";

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
    }),
  ),
  nics: z.array(
    z.object({
      uuid: z.string(),
      index: z.int(),
      name: z.string().nullable(),
      mac: z.string(),
      ip: z.string().nullable(),
      mode: z.enum(["bridged", "routed", "openvswitch", "user"]),
      link: z.string(),
      vlan: z.string(),
    }),
  ),
  hvparams: z.record(z.string(), parameterValue),
  networkPort: z.int().nullable(),
});
