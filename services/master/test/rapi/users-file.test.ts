import { chmod, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger } from "@gannet/telemetry";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Authenticator } from "../../src/rapi/authenticator.ts";
import { UsersFile } from "../../src/rapi/users-file.ts";
import { parseUsers } from "../../src/rapi/users-table.ts";

/** The example of the 2.5 document; Jessica's password is the one whose hash it gives. */
const SEED = `
# Give Jack and Fred read-only access
jack abc123
fred {cleartext}foo555

# Give write access to an imaginary instance creation script
autocreator xyz789 write

# Hashed password for Jessica
jessica {HA1}7046452df2cbb530877058712cf17bd4 write
`;

describe("the users file's text", () => {
  test.for([
    ["jack", "abc123", []],
    ["fred", "foo555", []],
    ["autocreator", "xyz789", ["write"]],
  ] as const)("%s of the document's example", ([name, password, options]) => {
    const table = parseUsers(SEED);
    expect(table.size).toBe(4);
    expect([...(table.verify(name, password)?.options ?? ["nobody"])]).toEqual(options);
    expect(table.verify(name, `${password} `)).toBeUndefined();
    expect(table.verify(name, "")).toBeUndefined();
    expect(table.verify("nobody", password)).toBeUndefined();
  });

  test("a hashed password is verified by user, realm and password together", () => {
    // printf 'mary:Ganeti Remote API:s3cret' | openssl md5
    const table = parseUsers("mary {Ha1}885B072704D98A8C0a56b4879b7c86d3 read, write\n");
    expect(table.verify("mary", "s3cret")?.options).toEqual(new Set(["read", "write"]));
    expect(table.verify("mary", "wrong")).toBeUndefined();
    expect(table.verify("mary", "885b072704d98a8c0a56b4879b7c86d3")).toBeUndefined();
  });

  test("passwords may look like comments, hold colons and non-ASCII letters", () => {
    const table = parseUsers("a #not:a comment\r\nb {ClearText}{x}ü\n   # a real comment\n");
    expect(table.size).toBe(2);
    expect(table.verify("a", "#not:a")?.options).toEqual(new Set(["comment"]));
    expect(table.verify("b", "{x}ü")?.name).toBe("b");
  });

  test("the later of two lines for one name counts", () => {
    const table = parseUsers("a one write\na two\n");
    expect(table.verify("a", "one")).toBeUndefined();
    expect(table.verify("a", "two")?.options.size).toBe(0);
  });

  test.for([
    ["lonely", 1],
    ["a b\n\nc {sha1}secretsecret", 3],
    ["a {ha1}secretsecret write", 1],
    ["a {cleartext}", 1],
    ["a {ha1}", 1],
    ["a {secretsecret", 1],
  ] as const)("%j is refused by line and without showing what stands there", ([text, line]) => {
    expect(() => parseUsers(text)).toThrow(new RegExp(`^line ${line} `));
    expect(() => parseUsers(text)).not.toThrow(/secret|lonely/);
  });
});

describe("the users file on disk", () => {
  let folder: string;
  let path: string;
  let users: UsersFile;
  const logger = silentLogger();

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "gannet-users-"));
    path = join(folder, "users");
    users = new UsersFile(path, logger);
  });

  afterEach(async () => {
    users.stop();
    vi.restoreAllMocks();
    await rm(folder, { recursive: true });
  });

  const optionsOf = (name: string, password: string) => users.table.verify(name, password)?.options;

  test("a change is taken over without a restart, by writing and by renaming over", async () => {
    await writeFile(path, "a one\n", { mode: 0o600 });
    await users.start();
    expect(optionsOf("a", "one")).toEqual(new Set());
    await writeFile(path, "a one write\n");
    await vi.waitFor(() => expect(optionsOf("a", "one")).toEqual(new Set(["write"])), 10_000);
    await writeFile(`${path}.new`, "a two write\n", { mode: 0o600 });
    await rename(`${path}.new`, path);
    await vi.waitFor(() => expect(optionsOf("a", "two")).toEqual(new Set(["write"])), 10_000);
    expect(optionsOf("a", "one")).toBeUndefined();
  });

  test("a broken file keeps the users and is reported once, by line and without its text", async () => {
    const report = vi.spyOn(logger, "error");
    await writeFile(path, "a one\n", { mode: 0o600 });
    await users.start();
    await writeFile(path, "a one\nsecretsecret\n");
    await vi.waitFor(() => expect(report).toHaveBeenCalledTimes(1), 10_000);
    await users.refresh();
    expect(report).toHaveBeenCalledTimes(1);
    expect(JSON.stringify(report.mock.calls)).toContain("line 2");
    expect(JSON.stringify(report.mock.calls)).not.toContain("secretsecret");
    expect(optionsOf("a", "one")).toBeDefined();
    await writeFile(path, "b two\n");
    await vi.waitFor(() => expect(optionsOf("b", "two")).toBeDefined(), 10_000);
    expect(optionsOf("a", "one")).toBeUndefined();
  });

  test("a file that is not there yet means no users until it comes", async () => {
    const report = vi.spyOn(logger, "error");
    await users.start();
    expect(report).toHaveBeenCalledTimes(1);
    expect(users.table.size).toBe(0);
    await writeFile(path, "a one\n", { mode: 0o600 });
    await vi.waitFor(() => expect(optionsOf("a", "one")).toBeDefined(), 10_000);
    await rm(path);
    await vi.waitFor(() => expect(report).toHaveBeenCalledTimes(2), 10_000);
    expect(optionsOf("a", "one")).toBeDefined();
  });

  test("rights of others on the file are warned of", async () => {
    const warn = vi.spyOn(logger, "warn");
    await writeFile(path, "a one\n", { mode: 0o600 });
    await users.start();
    expect(warn).not.toHaveBeenCalled();
    await chmod(path, 0o640);
    await writeFile(path, "a one\nb two\n");
    await vi.waitFor(() => expect(warn).toHaveBeenCalled(), 10_000);
  });
});

describe("HTTP Basic authentication", () => {
  async function authenticator(
    text: string,
  ): Promise<{ check(header: string): string | undefined; rewrite(text: string): Promise<void> } & AsyncDisposable> {
    const folder = await mkdtemp(join(tmpdir(), "gannet-users-"));
    const path = join(folder, "users");
    await writeFile(path, text, { mode: 0o600 });
    const users = new UsersFile(path, silentLogger());
    await users.start();
    const checker = new Authenticator(users);
    return {
      check: (header) => checker.authenticate(header)?.name,
      rewrite: async (changed) => {
        await writeFile(path, changed);
        await users.refresh();
      },
      [Symbol.asyncDispose]: async () => {
        users.stop();
        await rm(folder, { recursive: true });
      },
    };
  }
  const basic = (credentials: string) => `Basic ${Buffer.from(credentials).toString("base64")}`;

  test("accepts right credentials in any spelling of the scheme, again and again", async () => {
    await using subject = await authenticator("a o:ne write\nä ö\n");
    for (let i = 0; i < 3; i++) {
      expect(subject.check(basic("a:o:ne"))).toBe("a");
      expect(subject.check(basic("a:o:ne").replace("Basic", "bAsIc "))).toBe("a");
      expect(subject.check(basic("ä:ö"))).toBe("ä");
    }
  });

  test.for([
    ["nothing", ""],
    ["no credentials", "Basic"],
    ["empty credentials", "Basic "],
    ["padding only", "Basic ===="],
    ["no base64", "Basic !!!!"],
    ["no colon", basic("a")],
    ["no password", basic("a:")],
    ["part of the password", basic("a:on")],
    ["more than the password", basic("a:one ")],
    ["another case of the name", basic("A:one")],
    ["neither name nor password", basic(":")],
    ["a bearer token", basic("a:one").replace("Basic", "Bearer")],
    ["digest authentication", basic("a:one").replace("Basic", "Digest")],
    ["no scheme", Buffer.from("a:one").toString("base64")],
    ["ten thousand characters", `Basic ${"A".repeat(10_000)}`],
  ] as const)("refuses %s, before and after a right one", async ([_label, header]) => {
    await using subject = await authenticator("a one write\n");
    expect(subject.check(header)).toBeUndefined();
    expect(subject.check(basic("a:one"))).toBe("a");
    expect(subject.check(header)).toBeUndefined();
  });

  test("what was right is forgotten when the file changes", async () => {
    await using subject = await authenticator("a one write\n");
    expect(subject.check(basic("a:one"))).toBe("a");
    await subject.rewrite("a changed write\n");
    expect(subject.check(basic("a:one"))).toBeUndefined();
    expect(subject.check(basic("a:changed"))).toBe("a");
  });
});
