/** The command lines of both toolstacks, as xl(1) and xm(1) have them. */
import { describe, expect, it } from "vitest";
import {
  createArgv,
  listArgv,
  restoreArgv,
  resumeArgv,
  saveArgv,
  shutdownArgv,
  type Toolstack,
  unpauseArgv,
} from "../../../src/hypervisors/xen/toolstack.ts";

const NAME = "web1.example";
const FILES = { configFile: "/c/web1", savedFile: "/s/web1" };
const xl: Toolstack = { kind: "xl", path: "/usr/sbin/xl" };
const xm: Toolstack = { kind: "xm", path: "/usr/sbin/xm" };

describe("a command line", () => {
  it.each([
    [saveArgv(xl, NAME, "/s/web1"), "/usr/sbin/xl save web1.example /s/web1"],
    [saveArgv(xm, NAME, "/s/web1"), "/usr/sbin/xm save web1.example /s/web1"],
    [restoreArgv(xl, FILES, { paused: true }), "/usr/sbin/xl restore -p /c/web1 /s/web1"],
    [restoreArgv(xl, FILES, { paused: false }), "/usr/sbin/xl restore /c/web1 /s/web1"],
    [restoreArgv(xm, FILES, { paused: true }), "/usr/sbin/xm restore -p /s/web1"],
    [unpauseArgv(xl, NAME), "/usr/sbin/xl unpause web1.example"],
    [resumeArgv(xl, NAME), "/usr/sbin/xl resume web1.example"],
    [listArgv(xl), "/usr/sbin/xl list -v"],
    [listArgv(xm), "/usr/sbin/xm list"],
    [createArgv(xm, "/c/web1", { paused: false }), "/usr/sbin/xm create /c/web1"],
    [shutdownArgv(xl, NAME, "hvm"), "/usr/sbin/xl shutdown -F -w web1.example"],
    [shutdownArgv(xm, NAME, "hvm"), "/usr/sbin/xm shutdown -w web1.example"],
  ])("%j", (argv, line) => expect(argv.join(" ")).toBe(line));
});
