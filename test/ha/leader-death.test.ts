/** The short form of `make ha`: the death of the machine on which the leader and Redis' primary are, under load. */
import { expect, test } from "vitest";
import { HaCluster } from "./ha-cluster.ts";
import { LEADER_DIES } from "./scenarios.ts";

const isRoot = process.getuid?.() === 0;
if (!isRoot) console.log("skipped: network namespaces need root");

test.skipIf(!isRoot)(
  "the leader's machine dies, with Redis' primary on it, under load",
  { timeout: 240_000 },
  async () => {
    await using cluster = await HaCluster.start();
    const figures = await LEADER_DIES.run(cluster);
    const told = Object.entries(figures).map(([what, value]) => `${what} ${value}`);
    console.log(told.join(", "));
    expect(figures).toMatchObject({ lost: 0, "double starts": 0 });
  },
);
