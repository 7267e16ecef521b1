import { OpPrereqError } from "@gannet/errors";
import { expect, test } from "vitest";
import { compressionArgv } from "../../src/transfers/compression.ts";
import { ddArgv, ddHeadArgv, isDdRecordCount, parseDdBytes } from "../../src/transfers/dd.ts";
import { ProgressMeter } from "../../src/transfers/progress.ts";
import { parseSocatLine, socatArgv } from "../../src/transfers/socat.ts";

const MIB = 1024 * 1024;
const identity = { keyFile: "/s/key.pem", certFile: "/s/cert.pem", peerFile: "/s/peer.pem" };
const COMMON =
  "keepalive,keepidle=60,keepintvl=10,keepcnt=5,verify=1,cipher=HIGH:-DES:-3DES:-EXPORT:-DH,compress=none," +
  "openssl-min-proto-version=TLS1.2,openssl-max-proto-version=TLS1.2,key=/s/key.pem,cert=/s/cert.pem,cafile=/s/peer.pem";

test("socat listens and connects with Ganeti's options", () => {
  expect(socatArgv({ kind: "listen", address: "192.0.2.1" }, { ipv6: false, identity })).toEqual([
    ...["/usr/bin/socat", "-ls", "-d", "-d", "-b1048576", "-u"],
    `OPENSSL-LISTEN:0,reuseaddr,forever,intervall=0.01,${COMMON},pf=ipv4,bind=192.0.2.1`,
    "stdout",
  ]);
  expect(socatArgv({ kind: "connect", host: "2001:db8::1", port: 4711 }, { ipv6: true, identity })).toEqual([
    ...["/usr/bin/socat", "-ls", "-d", "-d", "-b1048576", "-u", "stdin"],
    `OPENSSL:[2001:db8::1]:4711,connect-timeout=20,retry=10,intervall=1,${COMMON},pf=ipv6,openssl-commonname=,no-sni`,
  ]);
});

test.each(["a,exec=id", "a!!exec:id", "x".repeat(401)])("socat is never given %j", (host) => {
  expect(() => socatArgv({ kind: "connect", host, port: 1 }, { ipv6: false, identity })).toThrow(OpPrereqError);
});

test.each([
  ["N listening on AF=2 127.0.0.1:41863", { kind: "listening", port: 41863 }],
  ["N listening on AF=10 [0000:0000:0000:0000:0000:0000:0000:0001]:36847", { kind: "listening", port: 36847 }],
  ["N starting data transfer loop with FDs [7,7] and [1,1]", { kind: "connected" }],
  ["N accepting connection from AF=2 127.0.0.1:42966 on AF=2 127.0.0.1:44151", { kind: "notice" }],
  ["I socket 1 (fd 7) is at EOF", { kind: "notice" }],
  [
    "E SSL_connect(): error:0A000418:SSL routines::tlsv1 alert unknown ca",
    { kind: "problem", text: "SSL_connect(): error:0A000418:SSL routines::tlsv1 alert unknown ca" },
  ],
  ["W exiting on signal 15", { kind: "problem", text: "exiting on signal 15" }],
])("of socat's log %j is understood", (line, news) => {
  expect(parseSocatLine(`2026/11/22 02:35:29 socat[13976] ${line}`)).toEqual(news);
});

test("what is no line of socat's log is a problem too", () => {
  expect(parseSocatLine("socat: error while loading shared libraries")).toMatchObject({ kind: "problem" });
});

test("dd is given what is named, and makes no file", () => {
  expect(ddArgv({})).toEqual(["/bin/dd", "bs=1048576", "iflag=fullblock"]);
  expect(ddArgv({ from: "/dev/a" })).toEqual(["/bin/dd", "bs=1048576", "iflag=fullblock", "if=/dev/a"]);
  expect(ddArgv({ to: "/dev/b", durable: true })).toEqual([
    ...["/bin/dd", "bs=1048576", "iflag=fullblock", "of=/dev/b", "conv=nocreat,notrunc,fsync"],
  ]);
  expect(ddHeadArgv(7)).toEqual(["/bin/dd", "bs=7", "count=1", "iflag=fullblock", "status=none"]);
});

test.each([
  ["0 bytes copied, 4.9e-05 s, 0.0 kB/s", 0],
  ["1 byte copied, 0.000123 s, 8.1 kB/s", 1],
  ["5242880 bytes (5.2 MB, 5.0 MiB) copied, 0.0123 s, 426 MB/s", 5242880],
  ["1099511627776 bytes (1.1 TB, 1.0 TiB) copied, 10995.1 s, 100 MB/s", 1099511627776],
  ["dd: error writing '/dev/full': No space left on device", undefined],
  ["5+0 records in", undefined],
])("dd's %j", (line, bytes) => {
  expect(parseDdBytes(line)).toBe(bytes);
  expect(isDdRecordCount(line)).toBe(line === "5+0 records in");
});

test("compression tools are called as Ganeti calls them", async () => {
  expect(await compressionArgv("none", "compress")).toBeUndefined();
  expect(await compressionArgv("", "compress")).toBeUndefined();
  expect(await compressionArgv("gzip", "compress")).toEqual(["/usr/bin/gzip", "-1", "-c"]);
  expect(await compressionArgv("gzip-fast", "compress")).toEqual(["/usr/bin/gzip", "-1", "-c"]);
  expect(await compressionArgv("gzip-slow", "compress")).toEqual(["/usr/bin/gzip", "-c"]);
  expect(await compressionArgv("gzip-slow", "decompress")).toEqual(["/usr/bin/gzip", "-d", "-c"]);
  expect(await compressionArgv("cat", "compress")).toEqual(["/usr/bin/cat"]);
  expect(await compressionArgv("cat", "decompress")).toEqual(["/usr/bin/cat", "-d"]);
  await expect(compressionArgv("constructor", "compress")).rejects.toThrow(/constructor is not installed/);
});

test("progress is of what was seen, and knows no end where no size is known", () => {
  const meter = new ProgressMeter();
  expect(meter.progress(100)).toEqual({ transferredMib: 0, mibPerSecond: 0, percent: 0, estimatedSeconds: null });
  meter.note(0, 1000);
  meter.note(10 * MIB, 3000);
  expect(meter.progress(100)).toEqual({ transferredMib: 10, mibPerSecond: 5, percent: 10, estimatedSeconds: 18 });
  expect(meter.progress(null)).toEqual({ transferredMib: 10, mibPerSecond: 5, percent: null, estimatedSeconds: null });
  expect(meter.progress(5)).toMatchObject({ percent: 100, estimatedSeconds: 0 });
  for (let second = 4; second < 100; second += 1) meter.note((10 + second) * MIB, second * 1000);
  expect(meter.progress(null).mibPerSecond).toBe(1);
});
