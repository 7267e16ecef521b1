import { describe, expect, it } from "vitest";
import { checkCpuPinning, expandCpuList, parseCpuMask } from "../../../src/hypervisors/kvm/cpu-mask.ts";
import { pinArgv } from "../../../src/hypervisors/kvm/cpu-pinning.ts";

describe("a mask of processors", () => {
  it.each([
    ["all", 4, { kind: "none" }],
    ["0-3", 1, { kind: "guest", cpus: "0-3" }],
    ["1,3", 2, { kind: "guest", cpus: "1,3" }],
    ["0:1", 2, { kind: "vcpus", cpus: ["0", "1"] }],
    ["0-1,4:all:2", 3, { kind: "vcpus", cpus: ["0-1,4", undefined, "2"] }],
  ])("%s of %i virtual processors", (mask, vcpus, expected) => {
    expect(parseCpuMask(mask, vcpus)).toEqual(expected);
  });

  it("for another number of virtual processors is refused", () => {
    expect(() => parseCpuMask("0:1:2", 2)).toThrow(/cpu_mask: 0:1:2 is for 3 virtual processors.* has 2/);
  });

  it("that names processors which this node has not is refused by their numbers", async () => {
    await checkCpuPinning({ kind: "vcpus", cpus: ["0", undefined] });
    await expect(checkCpuPinning({ kind: "vcpus", cpus: ["0", "4000-4001", "4000"] })).rejects.toThrow(
      "cpu_mask: this node has no processor 4000, 4001",
    );
  });

  it("is spelled out", () => expect(expandCpuList("0,2-4,7-7")).toEqual([0, 2, 3, 4, 7]));

  it("reaches one thread, or all of a process", () => {
    expect(pinArgv("0,2-4", 77, { allThreads: false })).toEqual([
      ...["/usr/bin/taskset", "--pid", "--cpu-list", "0,2-4", "77"],
    ]);
    expect(pinArgv("1", 77, { allThreads: true })).toEqual([
      ...["/usr/bin/taskset", "--all-tasks", "--pid", "--cpu-list", "1", "77"],
    ]);
  });
});
