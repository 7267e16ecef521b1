/** The simulated `xl` against what the real one printed. */
import { expect, test } from "vitest";
import { askAgain } from "../session-fixture.ts";
import { comparableSession, RECORDED_FILES, RECORDED_FOLDER, recordedSession } from "./recorded/index.ts";
import { withXen } from "./state.ts";

/** The recorded Xen is 4.17; the simulated one has this command, as Xen from 4.20 on. */
const NEWER = "resume";

test.each([1, 22])("a session of the real xl is answered, by domains numbered from %i", async (first) => {
  const session = recordedSession().filter((step) => "event" in step || step.command[1] !== NEWER);
  expect(session.length).toBeGreaterThan(45);
  const place = { folder: RECORDED_FOLDER, files: RECORDED_FILES };
  const told = await askAgain(session, place, (node) =>
    withXen(node, (state) => {
      state.nextId = first;
    }),
  );
  expect(comparableSession(told)).toEqual(comparableSession(session));
});
