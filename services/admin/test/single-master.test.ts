/** What becomes of the files of one of several masters when it is restored alone. */
import { redisConfiguration, SENTINEL_NAME, sentinelConfiguration } from "@gannet/redis";
import { expect, test } from "vitest";
import {
  ownSentinel,
  singleMasterConfiguration,
  singleRedisConfiguration,
  singleSentinelConfiguration,
} from "../src/restore/single-master.ts";

const tls = { certificateFile: "/tls/cert.pem", keyFile: "/tls/key.pem", caFile: "/tls/ca.pem" };
const listen = { address: "192.0.2.2", port: 1812 };
const common = { directory: "/data", listen, password: "secret", tls };
const replica = redisConfiguration({
  ...common,
  primary: { address: "192.0.2.1", port: 1812 },
  minReplicasToWrite: 1,
  promotable: false,
});
const single = redisConfiguration({ ...common, minReplicasToWrite: 0 });
const master = JSON.stringify({
  nodeName: "node2",
  redis: "sentinel://192.0.2.1:1813,192.0.2.2:2813,192.0.2.3:1813/gannet",
  redisReplicasToWait: 1,
});

test("Redis copies nobody and takes writes alone", () => {
  const without = (text: string) =>
    text.split("\n").filter((line) => !/^(min-replicas-to-write|replica-priority)/.test(line));
  expect(singleRedisConfiguration(replica).split("\n")).toEqual(without(single));
});

test("the master asks this machine's Sentinel only, and waits for no replicas", () => {
  const own = ownSentinel(master, replica);
  expect(own).toEqual({ address: "192.0.2.2", port: 2813 });
  if (own === undefined) throw new Error("none");
  expect(JSON.parse(singleMasterConfiguration(master, own))).toEqual({
    nodeName: "node2",
    redis: "sentinel://192.0.2.2:2813/gannet",
  });
});

test.each([
  ["as it was written", replica],
  ["as the server rewrote it", replica.replaceAll('"', "")],
])("Sentinel watches the Redis beside it, by redis.conf %s", (_, redis) => {
  const own = { address: "192.0.2.2", port: 2813 };
  expect(singleSentinelConfiguration(redis, own, { directory: "/sentinel", password: "secret" })).toBe(
    sentinelConfiguration({
      ...common,
      directory: "/sentinel",
      listen: own,
      name: SENTINEL_NAME,
      primary: listen,
      quorum: 1,
    }),
  );
});

test("a master with a Redis of its own is left as it is", () => {
  expect(ownSentinel(JSON.stringify({ redis: "unix:/run/redis.sock" }), single)).toBeUndefined();
});
