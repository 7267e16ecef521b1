import { chmod, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { configViewOf } from "@gannet/config-store";
import { hashPassword } from "@gannet/pki";
import { silentLogger } from "@gannet/telemetry";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Authenticator } from "../../src/rapi/authenticator.ts";
import { UsersFile } from "../../src/rapi/users-file.ts";
import { parseUsers } from "../../src/rapi/users-table.ts";
import { smallCluster } from "./cluster-fixture.ts";

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
  ] as const)("%s of the document's example", async ([name, password, options]) => {
    const table = parseUsers(SEED);
    expect(table.size).toBe(4);
    expect([...((await table.verify(name, password))?.user.options ?? ["nobody"])]).toEqual(options);
    expect(await table.verify(name, `${password} `)).toBeUndefined();
    expect(await table.verify(name, "")).toBeUndefined();
    expect(await table.verify("nobody", password)).toBeUndefined();
  });

  test("a hashed password is verified by user, realm and password together", async () => {
    // printf 'mary:Ganeti Remote API:s3cret' | openssl md5
    const table = parseUsers("mary {Ha1}885B072704D98A8C0a56b4879b7c86d3 read, write\n");
    expect((await table.verify("mary", "s3cret"))?.user.options).toEqual(new Set(["read", "write"]));
    expect(await table.verify("mary", "wrong")).toBeUndefined();
    expect(await table.verify("mary", "885b072704d98a8c0a56b4879b7c86d3")).toBeUndefined();
  });

  test("a scrypt hash is verified, as RFC 7914 has it", async () => {
    // Section 12: password "pleaseletmein", salt "SodiumChloride", N 16384, r 8, p 1; the first 32 bytes.
    const salt = Buffer.from("SodiumChloride").toString("base64").replace(/=+$/, "");
    const hash = Buffer.from("7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2", "hex");
    const stored = `ln=14,r=8,p=1$${salt}$${hash.toString("base64").replace(/=+$/, "")}`;
    const table = parseUsers(`mary {SCRYPT}${stored} write\njohn {scrypt}${await hashPassword("p: ä")}\n`);
    expect(await table.verify("mary", "pleaseletmein")).toMatchObject({ scheme: "scrypt", user: { name: "mary" } });
    expect(await table.verify("mary", "pleaseletmeout")).toBeUndefined();
    expect((await table.verify("john", "p: ä"))?.user.name).toBe("john");
    expect(await table.verify("nobody", "pleaseletmein")).toBeUndefined();
  });

  test("passwords may look like comments, hold colons and non-ASCII letters", async () => {
    const table = parseUsers("a #not:a comment\r\nb {ClearText}{x}ü\n   # a real comment\n");
    expect(table.size).toBe(2);
    expect((await table.verify("a", "#not:a"))?.user.options).toEqual(new Set(["comment"]));
    expect((await table.verify("b", "{x}ü"))?.user.name).toBe("b");
  });

  test("the later of two lines for one name counts", async () => {
    const table = parseUsers("a one write\na two\n");
    expect(await table.verify("a", "one")).toBeUndefined();
    expect((await table.verify("a", "two"))?.user.options.size).toBe(0);
  });

  test.for([
    ["lonely", 1],
    ["a b\n\nc {sha1}secretsecret", 3],
    ["a {ha1}secretsecret write", 1],
    ["a {cleartext}", 1],
    ["a {ha1}", 1],
    ["a {secretsecret", 1],
    ["a {scrypt}secretsecret", 1],
    ["a {scrypt}ln=22,r=8,p=1$secretsecret$secretsecretsecretsecretsecret", 1],
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

  const optionsOf = (name: string, password: string) =>
    users.table.verify(name, password).then((login) => login?.user.options);

  test("a change is taken over without a restart, by writing and by renaming over", async () => {
    await writeFile(path, "a one\n", { mode: 0o600 });
    await users.start();
    expect(await optionsOf("a", "one")).toEqual(new Set());
    await writeFile(path, "a one write\n");
    await vi.waitFor(async () => expect(await optionsOf("a", "one")).toEqual(new Set(["write"])), 10_000);
    await writeFile(`${path}.new`, "a two write\n", { mode: 0o600 });
    await rename(`${path}.new`, path);
    await vi.waitFor(async () => expect(await optionsOf("a", "two")).toEqual(new Set(["write"])), 10_000);
    expect(await optionsOf("a", "one")).toBeUndefined();
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
    expect(await optionsOf("a", "one")).toBeDefined();
    await writeFile(path, "b two\n");
    await vi.waitFor(async () => expect(await optionsOf("b", "two")).toBeDefined(), 10_000);
    expect(await optionsOf("a", "one")).toBeUndefined();
  });

  test("a file that is not there yet means no users until it comes", async () => {
    const report = vi.spyOn(logger, "error");
    await users.start();
    expect(report).toHaveBeenCalledTimes(1);
    expect(users.table.size).toBe(0);
    await writeFile(path, "a one\n", { mode: 0o600 });
    await vi.waitFor(async () => expect(await optionsOf("a", "one")).toBeDefined(), 10_000);
    await rm(path);
    await vi.waitFor(() => expect(report).toHaveBeenCalledTimes(2), 10_000);
    expect(await optionsOf("a", "one")).toBeDefined();
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
  ): Promise<
    { check(header: string): Promise<string | undefined>; rewrite(text: string): Promise<void> } & AsyncDisposable
  > {
    const folder = await mkdtemp(join(tmpdir(), "gannet-users-"));
    const path = join(folder, "users");
    await writeFile(path, text, { mode: 0o600 });
    const users = new UsersFile(path, silentLogger());
    await users.start();
    const checker = new Authenticator({
      users,
      configStore: { view: configViewOf(smallCluster()) },
      limits: { failures: 1_000, windowMs: 1_000, longestWaitMs: 1_000 },
      clock: Date.now,
      logger: silentLogger(),
      onTokenUse: () => {},
    });
    return {
      check: async (header) => (await checker.authenticate(header, "192.0.2.1"))?.name,
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
      expect(await subject.check(basic("a:o:ne"))).toBe("a");
      expect(await subject.check(basic("a:o:ne").replace("Basic", "bAsIc "))).toBe("a");
      expect(await subject.check(basic("ä:ö"))).toBe("ä");
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
    expect(await subject.check(header)).toBeUndefined();
    expect(await subject.check(basic("a:one"))).toBe("a");
    expect(await subject.check(header)).toBeUndefined();
  });

  test("what was right is forgotten when the file changes", async () => {
    await using subject = await authenticator("a one write\n");
    expect(await subject.check(basic("a:one"))).toBe("a");
    await subject.rewrite("a changed write\n");
    expect(await subject.check(basic("a:one"))).toBeUndefined();
    expect(await subject.check(basic("a:changed"))).toBe("a");
  });
});
