import { DISK_TEMPLATES, HYPERVISORS } from "@gannet/objects";
import { z } from "zod";
import { command, defineOpcode } from "../define.ts";
import { EVAC_MODES, IALLOCATOR_DIRECTIONS, IALLOCATOR_MODES } from "../enums.ts";
import * as p from "../params.ts";

export const TestAllocator = defineOpcode({
  id: "OP_TEST_ALLOCATOR",
  doc: "Show what an allocator is asked, or what it answers.",
  params: {
    direction: p.required(z.enum(IALLOCATOR_DIRECTIONS), "`in`: show the question; `out`: run the allocator."),
    mode: p.required(z.enum(IALLOCATOR_MODES), "What the allocator is asked for."),
    name: p.required(p.nonEmptyLine, "Name of the instance."),
    nics: p.optionalList(p.nicParams, "Network interfaces of a new instance."),
    disks: p.optionalList(z.unknown(), "Disks of a new instance."),
    hypervisor: p.optional(z.enum(HYPERVISORS), "Hypervisor of a new instance."),
    iallocator: p.iallocator,
    tags: p.list(p.tag.min(1), "Tags of a new instance."),
    memory: p.optional(p.size, "Memory of a new instance, in MiB or with a unit."),
    vcpus: p.optional(p.nonNegative, "Virtual CPUs of a new instance."),
    os: p.osType,
    disk_template: p.optional(z.enum(DISK_TEMPLATES), "Disk template of a new instance."),
    instances: p.optionalList(p.hostName, "Instances to be moved."),
    evac_mode: p.optional(z.enum(EVAC_MODES), "What is evacuated from a node."),
    target_groups: p.targetGroups,
    spindle_use: p.withDefault(p.nonNegative, 1, "Spindles of a new instance."),
    count: p.withDefault(p.nonNegative, 1, "How many instances to allocate."),
    group_name: p.optionalGroupName,
  },
  result: z.string(),
  summary: "iallocator",
  rapi: [],
  cli: command("debug allocator", { args: ["name"] }),
});
