import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { volumeNameOf } from "../../../src/block-devices/lvm/names.ts";
import { changesOf, ownerOf, tagsOf } from "../../../src/block-devices/lvm/tags.ts";

const disk = { uuid: "aaaaaaaa-0000-4000-8000-000000000000", instanceName: "web1.example.com" };

test.each([
  [["xenvg", "0123.disk0"], { volumeGroup: "xenvg", name: "0123.disk0" }],
  [["xenvg", "0123.disk0_meta"], { volumeGroup: "xenvg", name: "0123.disk0_meta" }],
  [["xenvg"], undefined],
  [["xenvg", 7], undefined],
  [["xenvg", "a", "b"], undefined],
  [["xenvg", "a_rmeta_0"], undefined],
  [["..", "a"], undefined],
])("%j", (logicalId, name) => {
  expect(volumeNameOf(logicalId)).toEqual(name);
});

test("no accepted name is an option, a path, or two words", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), fc.string({ unit: "binary" }), (volumeGroup, name) => {
      const accepted = volumeNameOf([volumeGroup, name]);
      if (accepted !== undefined)
        for (const part of [accepted.volumeGroup, accepted.name]) {
          expect(part).toMatch(/^[^-/\s\0][^/\s\0]*$/);
          expect([".", ".."]).not.toContain(part);
        }
    }),
  );
});

describe("tags", () => {
  test("name the disk and, as Ganeti's, the instance", () => {
    expect(tagsOf(disk)).toEqual(["gannetdisk+aaaaaaaa-0000-4000-8000-000000000000", "originstname+web1.example.com"]);
    expect(ownerOf(tagsOf(disk))).toBe(disk.uuid);
    expect(ownerOf(["originstname+web1.example.com", "site"])).toBeUndefined();
  });

  test("hold nothing that LVM refuses, whatever the instance is called", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (instanceName) => {
        for (const tag of tagsOf({ ...disk, instanceName }))
          expect(tag).toMatch(/^[A-Za-z0-9_+.][-A-Za-z0-9_+.]{0,127}$/);
      }),
    );
  });

  test("are changed so that one disk is left, and the site's own stay", () => {
    const others = tagsOf({ uuid: "bbbbbbbb-0000-4000-8000-000000000000", instanceName: "web2.example.com" });
    expect(changesOf([...others, "site"], disk)).toEqual({ add: tagsOf(disk), remove: others });
    expect(changesOf([...tagsOf(disk), "site"], disk)).toEqual({ add: [], remove: [] });
  });
});
