import { existsSync } from "node:fs";
import { OpPrereqError } from "@gannet/errors";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type OsFixture, osFixture, validateRequest } from "./os-fixture.ts";

/** Of the package ganeti-instance-debootstrap. What its other scripts do: test/transfers/debians-definitions.test.ts. */
const DEBIANS = "/usr/share/ganeti/os";
const installed = existsSync(`${DEBIANS}/debootstrap`);
if (!installed) console.warn("Not testing Debian's debootstrap: ganeti-instance-debootstrap is not installed");

const { signal } = new AbortController();
let os: OsFixture;
beforeEach(async () => {
  os = await osFixture();
});
afterEach(() => os.close());

test.runIf(installed)("Debian's debootstrap definition is valid, and its own verify script is asked", async () => {
  const definitions = os.definitions({ searchPath: [DEBIANS] });
  const facts = (await definitions.diagnose()).find(({ name }) => name === "debootstrap");
  expect(facts).toMatchObject({ valid: true, problem: "", variants: expect.arrayContaining(["default"]) });
  expect(facts?.parameters.map(({ name }) => name)).toEqual(["filesystem"]);
  await definitions.validate(validateRequest("debootstrap+default", { filesystem: "ext4" }), signal);
  const refused = definitions.validate(validateRequest("debootstrap+default", { filesystem: "xfs" }), signal);
  await expect(refused).rejects.toThrow(OpPrereqError);
  await expect(refused).rejects.toThrow(/verify script of OS debootstrap failed with exit code 1/);
});
