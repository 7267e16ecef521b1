/** Simulated lxc against what the real one printed. */
import { expect, test } from "vitest";
import { askAgain } from "../session-fixture.ts";
import { comparableSession, RECORDED_FILES, RECORDED_FOLDER, recordedSession } from "./recorded/index.ts";

test("a session of the real lxc is answered, but for where in its source lxc was", async () => {
  const session = recordedSession();
  expect(session.length).toBeGreaterThan(20);
  const place = { folder: RECORDED_FOLDER, files: RECORDED_FILES, folders: ["root/bin", "lxc"] };
  expect(comparableSession(await askAgain(session, place))).toEqual(comparableSession(session));
});
