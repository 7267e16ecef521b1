/** A guest that does not go where its balloon is told to, which a real one does only when it is short of memory. */
import { expect, it } from "vitest";
import { setMemory } from "../../../src/hypervisors/kvm/balloon/set-memory.ts";
import type { GuestMonitor } from "../../../src/hypervisors/kvm/guest-monitor.ts";
import type { GuestRegister, RunningGuest } from "../../../src/hypervisors/kvm/known-guest.ts";
import { planOf } from "./plan-fixture.ts";

const NEVER = new AbortController().signal;
const MIB = 1024 * 1024;

/** Goes down to its floor and no further, some steps at each look. */
function stubbornGuest(floorMib: number) {
  let [wantedMib, actualMib] = [512, 512];
  const asked: number[] = [];
  const kept: number[] = [];
  const execute = async (call: { readonly name: string; readonly arguments?: { readonly value: number } }) => {
    if (call.name === "balloon") {
      wantedMib = (call.arguments?.value ?? 0) / MIB;
      asked.push(wantedMib);
      return undefined;
    }
    actualMib = Math.max(floorMib, wantedMib, actualMib - 100);
    return { actual: actualMib * MIB };
  };
  const monitor = { execute, refreshAll: async () => {} } as unknown as GuestMonitor;
  const process = { pid: 2, startTicks: 0, bootId: "" };
  const { guest, machine, places } = planOf({});
  const record = { version: 1, guest, machine, places, phase: "running", process, ranBeforeSeconds: 0 } as const;
  const register: GuestRegister = {
    find: () => undefined,
    running: async (): Promise<RunningGuest> => ({ record, monitor }),
    keep: async (known) => void kept.push(known.record.guest.startMemoryMib),
    remove: async () => {},
  };
  return { register, asked, kept };
}

it("is waited for, and what it has come to is remembered", async () => {
  const { register, asked, kept } = stubbornGuest(0);
  await setMemory(register, "web1.example", 128, { signal: NEVER });
  expect({ asked, kept }).toEqual({ asked: [128], kept: [128] });
});

it("that stays above is told with what it has, and is asked no more", async () => {
  const { register, asked, kept } = stubbornGuest(300);
  await expect(setMemory(register, "web1.example", 128, { signal: NEVER, reachMs: 400 })).rejects.toMatchObject({
    name: "HypervisorError",
    message: expect.stringMatching(/has 300 MiB after 0\.4 s and not the 128 MiB/),
  });
  expect({ asked, kept }).toEqual({ asked: [128, 300], kept: [] });
});
