/** A disk as guests and OS scripts are told of it, by its template. */
import { expect, test } from "vitest";
import { type Device, guestDisk } from "../../src/rpc/messages.ts";

const FILE = { path: "/srv/disk", kind: "file", format: "raw" } as const;
const DISK = {
  uuid: "11111111-2222-4333-8444-666666666666",
  mode: "rw",
  sizeMib: 8,
  instanceName: "web1.example.com",
  index: 0,
  params: {},
  children: [],
} satisfies Partial<Device>;

test.each([
  ["file", ["blktap", "/srv/disk"], "blktap"],
  ["gluster", ["loop", "/srv/disk"], "loop"],
  // The first part of these is a provider's or a volume group's name.
  ["ext", ["provider", "disk"], undefined],
  ["plain", ["xenvg", "disk"], undefined],
] as const)("a file that is a disk of template %s has the file driver of %j", (template, logicalId, driver) => {
  expect(guestDisk({ ...DISK, template, logicalId: [...logicalId] }, FILE, 0).fileDriver).toBe(driver);
});
