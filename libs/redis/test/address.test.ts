import { OpPrereqError } from "@gannet/errors";
import { parseRedisAddress } from "@gannet/redis";
import { expect, test } from "vitest";

test.each([
  ["unix:/run/gannet/redis.sock", { kind: "socket", path: "/run/gannet/redis.sock" }],
  ["redis://10.0.0.1", { kind: "url", url: "redis://10.0.0.1" }],
  ["rediss://gannet@redis.example.org:6380/2", { kind: "url", url: "rediss://gannet@redis.example.org:6380/2" }],
  ["redis://[2001:db8::1]:6379", { kind: "url", url: "redis://[2001:db8::1]:6379" }],
  [
    "sentinel://a.example.org,10.0.0.2:26380,[2001:db8::1]:1/gannet",
    {
      kind: "sentinel",
      name: "gannet",
      sentinels: [
        { host: "a.example.org", port: 26379 },
        { host: "10.0.0.2", port: 26380 },
        { host: "2001:db8::1", port: 1 },
      ],
    },
  ],
])("%s is understood", (text, address) => {
  expect(parseRedisAddress(text)).toEqual(address);
});

test("secrets come apart from the address", () => {
  expect(parseRedisAddress("rediss://h", { password: "pw", ca: "PEM" })).toEqual({
    kind: "url",
    url: "rediss://h",
    password: "pw",
    ca: "PEM",
  });
});

test.each([
  "",
  "localhost:6379",
  "http://localhost",
  "unix:relative.sock",
  "redis://",
  "redis://host/database",
  "redis://host/0?db=1",
  "redis://user:hunter2@host",
  "sentinel://host:26379",
  "sentinel:///name",
  "sentinel://user:hunter2@host/name",
  "sentinel://host:notaport/name",
])("%s is refused without repeating a password", (text) => {
  const refusal = expect.objectContaining({ code: "wrong_input", message: expect.not.stringContaining("hunter2") });
  expect(() => parseRedisAddress(text)).toThrow(OpPrereqError);
  try {
    parseRedisAddress(text);
  } catch (error) {
    expect(error).toEqual(refusal);
  }
});
