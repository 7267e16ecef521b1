import { mkdir, mkdtemp, readdir, realpath, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { FileStoragePathError } from "@gannet/errors";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { FORBIDDEN_FOLDERS, makeFolderOf, openFolderOf, rootOf } from "../../src/block-devices/allowed-path.ts";

describe("by its text", () => {
  test("a path below a root is allowed, whatever its depth", () => {
    const allowed = { roots: ["/srv/one", "/srv/two/"] };
    expect(rootOf("/srv/one/web1/disk0", allowed)).toBe("/srv/one");
    expect(rootOf("/srv/two/disk0", allowed)).toBe("/srv/two/");
  });

  test.each(FORBIDDEN_FOLDERS)("nothing in %s is allowed, though a root says so", (folder) => {
    for (const root of [folder, path.join(folder, "below"), path.dirname(folder)])
      expect(() => rootOf(path.join(folder, "below", "disk0"), { roots: [root] })).toThrow(FileStoragePathError);
  });

  test("a folder that only begins like a forbidden one is allowed", () => {
    expect(rootOf("/homes/disk0", { roots: ["/homes"] })).toBe("/homes");
  });

  test("the agent's own folder may lie in a home folder, and nothing beside it", () => {
    const allowed = { roots: ["/home/jo/gannet/.state/file", "/home/jo/disks"], ownFolder: "/home/jo/gannet/.state" };
    expect(rootOf("/home/jo/gannet/.state/file/disk0", allowed)).toBe("/home/jo/gannet/.state/file");
    expect(() => rootOf("/home/jo/disks/disk0", allowed)).toThrow(/never allowed/);
  });

  test("the root / is never one", () => {
    expect(() => rootOf("/srv/disk0", { roots: ["/"] })).toThrow(FileStoragePathError);
  });

  test("no text reaches outside the root", () => {
    const part = fc.constantFrom("..", ".", "", "a", "srv", "one", "etc", "\0", "-rf", " ", "…");
    fc.assert(
      fc.property(fc.array(part, { maxLength: 8 }), fc.constantFrom("", "/", "/srv/one/"), (parts, start) => {
        const target = start + parts.join("/");
        try {
          rootOf(target, { roots: ["/srv/one"] });
        } catch (error) {
          expect(error).toBeInstanceOf(FileStoragePathError);
          return;
        }
        expect(path.resolve(target)).toBe(target);
        expect(target.startsWith("/srv/one/")).toBe(true);
        expect(target).not.toContain("\0");
      }),
    );
  });

  test("a message shows control characters and is bounded", () => {
    const target = `/${"\n".repeat(100_000)}`;
    const message = () => rootOf(target, { roots: [] });
    expect(message).toThrow(/\\n/);
    expect(message).toThrow(/^.{0,600}$/);
  });
});

describe("by where it leads", () => {
  let base: string;
  let root: string;
  let outside: string;
  beforeEach(async () => {
    base = await realpath(await mkdtemp(path.join(tmpdir(), "gannet-path-")));
    root = path.join(base, "root");
    outside = path.join(base, "outside");
    await mkdir(path.join(root, "real"), { recursive: true });
    await mkdir(outside);
  });
  afterEach(() => rm(base, { recursive: true }));
  const allowed = () => ({ roots: [root] });

  test("missing folders are made, and only when asked", async () => {
    const target = path.join(root, "a", "b", "disk0");
    expect(await openFolderOf(target, allowed())).toBeUndefined();
    expect(await readdir(root)).toEqual(["real"]);
    await using folder = await makeFolderOf(target, allowed());
    expect(folder.path).toBe(path.join(root, "a", "b"));
    await writeFile(folder.entry("disk0"), "");
    expect(await readdir(path.join(root, "a", "b"))).toEqual(["disk0"]);
  });

  test("a link that stays below a root is followed", async () => {
    await symlink("real", path.join(root, "link"));
    await using folder = await makeFolderOf(path.join(root, "link", "disk0"), allowed());
    expect(folder.path).toBe(path.join(root, "real"));
  });

  test("a root may itself be a link", async () => {
    const linked = path.join(base, "linked-root");
    await symlink(root, linked);
    await using folder = await makeFolderOf(path.join(linked, "web1", "disk0"), { roots: [linked] });
    expect(folder.path).toBe(path.join(root, "web1"));
  });

  test("a root that is a link into a folder of the system is refused", async () => {
    const linked = path.join(base, "linked-root");
    await symlink("/etc", linked);
    await expect(openFolderOf(path.join(linked, "disk0"), { roots: [linked] })).rejects.toThrow(/never allowed/);
  });

  test.each([
    ["absolute", () => outside],
    ["relative", () => "../outside"],
    ["chained", () => "hop"],
    ["dangling", () => "../outside/not-yet"],
    ["circular", () => "link"],
    ["to a file", () => "file"],
  ])("a link that is %s is refused", async (_kind, target) => {
    await symlink("../outside", path.join(root, "hop"));
    await writeFile(path.join(root, "file"), "");
    await symlink(target(), path.join(root, "link"));
    for (const disk of ["disk0", "deeper/disk0", "deeper/still/disk0"]) {
      await expect(openFolderOf(path.join(root, "link", disk), allowed())).rejects.toThrow(FileStoragePathError);
      await expect(makeFolderOf(path.join(root, "link", disk), allowed())).rejects.toThrow(FileStoragePathError);
    }
    expect(await readdir(outside)).toEqual([]);
  });

  test("an entry is reached through the folder that was checked, whatever its path has become", async () => {
    const folderPath = path.join(root, "web1");
    await using folder = await makeFolderOf(path.join(folderPath, "disk0"), allowed());
    await rename(folderPath, `${folderPath}.moved`);
    await symlink(outside, folderPath);
    await writeFile(folder.entry("disk0"), "");
    expect(await readdir(outside)).toEqual([]);
    expect(await readdir(`${folderPath}.moved`)).toEqual(["disk0"]);
  });

  test("folders made for nothing are removed again, and others stay", async () => {
    {
      await using folder = await makeFolderOf(path.join(root, "real", "a", "b", "disk0"), allowed());
      await folder.removeWhenEmpty();
    }
    expect(await readdir(root)).toEqual(["real"]);
    {
      await using folder = await makeFolderOf(path.join(root, "real", "a", "disk0"), allowed());
      await writeFile(folder.entry("neighbour"), "");
      await folder.removeWhenEmpty();
    }
    expect(await readdir(path.join(root, "real", "a"))).toEqual(["neighbour"]);
  });
});
