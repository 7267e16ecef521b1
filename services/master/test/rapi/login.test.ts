/** Logins as clients meet them: slow hashes, waits after failures, advice, and the audit log of all that. */
import { appendFile, mkdir, mkdtemp, readFile, rename, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger } from "@gannet/telemetry";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { AuditLog } from "../../src/rapi/audit-log.ts";
import { type Call, startRapiTestbed, USERS } from "./rapi-testbed.ts";

const basic = (credentials: string): Call => ({
  user: null,
  headers: { Authorization: `Basic ${Buffer.from(credentials).toString("base64")}` },
});
const WAITS = { failures: 3, windowMs: 60_000, longestWaitMs: 60_000 };

let folder: string;
let file: string;
const logger = silentLogger();
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "gannet-audit-"));
  file = join(folder, "audit.log");
});
afterEach(async () => {
  vi.restoreAllMocks();
  await rm(folder, { recursive: true });
});

const openAudit = (whenUnwritable: "continue" | "refuse" = "continue") =>
  AuditLog.open({ file, whenUnwritable, logger });

async function lines(from = file): Promise<Record<string, unknown>[]> {
  const text = await readFile(from, "utf8");
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line));
}

describe("passwords", () => {
  test("many requests with a right scrypt password are one check, and wrong ones come out in the end", async () => {
    // RFC 7914, section 12: "pleaseletmein" with N 16384, r 8, p 1.
    const hash = "cCO9yzr9c0hGHAbNgf046/2o+7qQT44+qbVD9lRdofI";
    const users = `slow {scrypt}ln=14,r=8,p=1$U29kaXVtQ2hsb3JpZGU$${hash} write\n`;
    await using bed = await startRapiTestbed({ users });
    const right = await Promise.all(Array.from({ length: 40 }, () => bed.get("/2/info", basic("slow:pleaseletmein"))));
    expect(right.map(({ status }) => status)).toEqual(Array(40).fill(200));
    const wrong = await Promise.all(
      ["", "wrong", "pleaseletmein "].map((word) => bed.get("/2/info", basic(`slow:${word}`))),
    );
    expect(wrong.map(({ status }) => status)).toEqual([401, 401, 401]);
    // More guesses at once than are checked or kept waiting; who is known by then is not kept from anything.
    const flood = Array.from({ length: 50 }, (_, i) => bed.get("/2/info", basic(`slow:guess${i}`)));
    expect((await bed.get("/2/info", basic("slow:pleaseletmein"))).status).toBe(200);
    const statuses = new Set((await Promise.all(flood)).map(({ status }) => status));
    expect(statuses).toEqual(new Set([401, 503]));
  });

  test("kept in a worse form are reported once, without the password", async () => {
    const written: Record<string, unknown>[] = [];
    const noted = pino({ base: null, timestamp: false }, { write: (line) => written.push(JSON.parse(line)) });
    await using bed = await startRapiTestbed({ logger: noted });
    for (let i = 0; i < 3; i++) await bed.get("/2/info");
    await bed.get("/2/info", { user: "operator" });
    const advised = written.filter(({ msg }) => String(msg).includes("hash-password"));
    expect(advised).toMatchObject([
      { user: "admin", scheme: "cleartext" },
      { user: "operator", scheme: "cleartext" },
    ]);
    expect(JSON.stringify(written)).not.toMatch(/"secret"|peek/);
  });
});

describe("after failures", () => {
  test("the next logins wait, but not who is known, and the waits are told", async () => {
    await using bed = await startRapiTestbed({ loginLimits: WAITS });
    expect((await bed.get("/2/info")).status).toBe(200);
    for (let i = 0; i < 3; i++) expect((await bed.get("/2/info", basic(`admin:guess${i}`))).status).toBe(401);
    const waiting = await bed.get("/2/info", basic("admin:guess3"));
    expect(waiting).toMatchObject({ status: 429, json: { code: 429, explain: "Too many requests" } });
    expect(Number(waiting.headers["retry-after"])).toBe(1);
    expect((await bed.get("/2/info", { user: "operator" })).status).toBe(429);
    expect((await bed.get("/2/info")).status).toBe(200);
    await vi.waitFor(async () => expect((await bed.get("/2/info", { user: "operator" })).status).toBe(200), 5_000);
  });

  test("requests without credentials are no failures", async () => {
    await using bed = await startRapiTestbed({ loginLimits: WAITS });
    for (let i = 0; i < 10; i++) expect((await bed.get("/2/info", { user: null })).status).toBe(401);
    expect((await bed.get("/2/info")).status).toBe(200);
  });
});

describe("the audit log", () => {
  test("holds every write, refused login and change of a token, and no secret", async () => {
    const audit = await openAudit();
    await using bed = await startRapiTestbed({ audit, loginLimits: WAITS, users: USERS });
    const shutdown = "/2/instances/inst1.gnt.test/shutdown";
    const job = (await bed.call("PUT", shutdown, { json: { timeout: 5 } })).json;
    await bed.call("PUT", shutdown, { user: "reader" });
    await bed.call("PUT", shutdown, { json: { timeout: "secretsecret" } });
    await bed.get("/2/info");
    await bed.get("/2/info", { user: null });
    await bed.call("PUT", "/2/query/node", { json: { fields: ["name"] } });
    const { id, token } = (await bed.call("POST", "/2/tokens", { json: { name: "ci", rights: { all: "write" } } }))
      .json as { id: string; token: string };
    const bearer = { user: null, headers: { Authorization: `Bearer ${token}` } };
    const second = (await bed.call("PUT", `${shutdown}?dry-run=1`, bearer)).json;
    await bed.call("DELETE", `/2/tokens/${id}`);
    for (let i = 0; i < 6; i++) await bed.get("/2/info", basic("admin:secretguess"));
    await audit.close();
    const common = { time: expect.any(String), address: "127.0.0.1" };
    const opcodes = ["OP_INSTANCE_SHUTDOWN"];
    const put = { ...common, user: "admin", method: "PUT", path: shutdown, opcodes };
    const guess = { ...common, user: "admin", method: "GET", path: "/2/info" };
    expect(await lines()).toEqual([
      { ...put, status: 200, job },
      { ...put, user: "reader", status: 403 },
      { ...put, status: 400 },
      { ...common, user: "admin", method: "POST", path: "/2/tokens", status: 200, subject: id },
      { ...put, user: "admin/ci", token: id, status: 200, job: second },
      { ...common, user: "admin", method: "DELETE", path: `/2/tokens/${id}`, status: 200 },
      ...[401, 401, 401, 429].map((status) => ({ ...guess, status })),
    ]);
    expect(await readFile(file, "utf8")).not.toMatch(new RegExp(`secret|${token.slice(-43)}`));
    expect((await stat(file)).mode & 0o777).toBe(0o600);
  });

  test("goes on in a new file when the old one was moved away", async () => {
    const audit = await openAudit();
    await appendFile(file, '{"path":"before"}\n');
    record(audit, "first");
    await vi.waitFor(async () => expect(await lines()).toHaveLength(2));
    await rename(file, `${file}.1`);
    record(audit, "second");
    await vi.waitFor(async () => expect(await lines(`${file}.1`)).toHaveLength(3));
    await audit.reopen();
    record(audit, "third");
    await audit.close();
    expect((await lines()).map(({ path }) => path)).toEqual(["third"]);
    expect((await lines(`${file}.1`)).map(({ path }) => path)).toEqual(["before", "first", "second"]);
  });

  /** The kernel's own full disk. */
  const FULL = "/dev/full";
  test("on a full disk changes go on, loudly", async () => {
    const report = vi.spyOn(logger, "error");
    const audit = await AuditLog.open({ file: FULL, whenUnwritable: "continue", logger });
    await using bed = await startRapiTestbed({ audit });
    for (let i = 0; i < 3; i++) expect((await bed.call("PUT", "/2/tags?tag=a")).status).toBe(200);
    await vi.waitFor(() => expect(report).toHaveBeenCalledTimes(1));
    expect(report.mock.calls[0]?.[1]).toMatch(/changes go on/);
    await audit.close();
  });

  test("or are refused, when the administrator wants that", async () => {
    const audit = await AuditLog.open({ file: FULL, whenUnwritable: "refuse", logger });
    await using bed = await startRapiTestbed({ audit });
    await bed.call("PUT", "/2/tags?tag=a");
    await vi.waitFor(async () => {
      const { status, text } = await bed.call("PUT", "/2/tags?tag=b");
      expect(status).toBe(503);
      expect(text).toContain("ENOSPC");
    });
    expect((await bed.get("/2/info")).status).toBe(200);
    await audit.close();
  });

  test("what could not be written is written when it can be", async () => {
    const place = join(folder, "logs");
    await mkdir(place);
    const audit = await AuditLog.open({ file: join(place, "audit.log"), whenUnwritable: "refuse", logger });
    await rename(place, `${place}.away`);
    await audit.reopen();
    record(audit, "first");
    record(audit, "second");
    await expect(audit.admit()).rejects.toThrow(/ENOENT/);
    await rename(`${place}.away`, place);
    await audit.admit();
    expect((await lines(join(place, "audit.log"))).map(({ path }) => path)).toEqual(["first", "second"]);
    await audit.close();
  });
});

function record(audit: AuditLog, path: string): void {
  audit.record({ user: "a", address: "::1", method: "PUT", path, status: 200 });
}
