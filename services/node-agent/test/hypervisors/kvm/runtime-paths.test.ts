import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { runtimeFolders, runtimePaths, SOCKET_PATH_LIMIT_BYTES } from "../../../src/hypervisors/kvm/runtime-paths.ts";

describe("runtime paths", () => {
  it("carry the guest's name where it fits", () => {
    const paths = runtimePaths(runtimeFolders("/var/lib/gannet", "/run/gannet"), "web1.example");
    expect(paths).toMatchObject({
      pidFile: "/var/lib/gannet/kvm-hypervisor/pid/web1.example",
      qmpSocket: "/var/lib/gannet/kvm-hypervisor/ctrl/web1.example.qmp",
      nicFolder: "/var/lib/gannet/kvm-hypervisor/nic/web1.example",
    });
  });

  it("fit into a socket's address and a file's name, and differ for different guests and nodes", () => {
    const part = fc.string({ unit: fc.constantFrom("a", "b", "ü"), minLength: 1, maxLength: 60 });
    const stateDir = fc.array(part, { minLength: 1, maxLength: 3 }).map((parts) => `/${parts.join("/")}`);
    const name = fc.string({ unit: fc.constantFrom("a", "b", "."), minLength: 1, maxLength: 253 });
    fc.assert(
      fc.property(stateDir, stateDir, name, name, (oneDir, otherDir, oneName, otherName) => {
        const one = runtimePaths(runtimeFolders(oneDir, "/run/gannet"), oneName);
        const other = runtimePaths(runtimeFolders(otherDir, "/run/gannet"), otherName);
        for (const socket of [one.qmpSocket, one.monitorSocket, one.serialSocket]) {
          expect(Buffer.byteLength(socket)).toBeLessThanOrEqual(SOCKET_PATH_LIMIT_BYTES);
        }
        expect(`${one.stem}.json`.length).toBeLessThanOrEqual(255);
        const same = oneDir === otherDir && oneName === otherName;
        expect(one.qmpSocket === other.qmpSocket).toBe(same);
      }),
    );
  });
});
