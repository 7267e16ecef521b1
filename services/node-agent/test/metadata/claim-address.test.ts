/** The address at which guests find their node, in a network of its own. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { METADATA_ADDRESS } from "@gannet/objects";
import { expect, test } from "vitest";
import { claimOnLoopback } from "../../src/metadata/claim-address.ts";
import { runner } from "../agent-fixture.ts";
import { privateNetwork } from "../master-address/private-network.ts";

test("is put on the loopback interface, once", async () => {
  const folder = await mkdtemp(path.join(tmpdir(), "gannet-claim-"));
  try {
    using network = await privateNetwork(folder);
    const claim = claimOnLoopback({ runner, ip: network.ip });
    await claim(METADATA_ADDRESS);
    await claim(METADATA_ADDRESS);
    const found = (await network.addresses()).filter((each) => each.includes(METADATA_ADDRESS));
    expect(found).toEqual([`${METADATA_ADDRESS}/32 lo`]);
  } finally {
    await rm(folder, { recursive: true });
  }
});
