import { instanceStatus, type StatusFacts } from "@gannet/query";
import { describe, expect, it } from "vitest";

const BASE: StatusFacts = {
  adminState: "up",
  adminStateSource: "admin",
  primaryOffline: false,
  primaryReachable: true,
  seen: undefined,
  clusterUserShutdown: false,
  hypervisorUserShutdown: true,
};
const here = (status: "running" | "paused" | "shutdown" | "crashed") => ({ status, onPrimary: true });
const USERS = { clusterUserShutdown: true };

describe("instanceStatus", () => {
  it.each<[Partial<StatusFacts>, string]>([
    [{ seen: here("running") }, "running"],
    [{ seen: here("paused") }, "running"],
    [{ seen: here("running"), primaryReachable: false }, "running"],
    [{ seen: here("running"), adminState: "down" }, "ERROR_up"],
    [{ seen: here("running"), adminState: "offline" }, "ERROR_up"],
    [{ seen: here("running"), primaryOffline: true }, "ERROR_nodeoffline"],
    [{ primaryOffline: true, primaryReachable: false, adminState: "down" }, "ERROR_nodeoffline"],
    [{ primaryReachable: false }, "ERROR_nodedown"],
    [{ primaryReachable: false, adminState: "down" }, "ERROR_nodedown"],
    [{ seen: { status: "running", onPrimary: false } }, "ERROR_wrongnode"],
    [{ seen: { status: "running", onPrimary: false }, primaryReachable: false, adminState: "down" }, "ERROR_wrongnode"],
    [{ seen: here("shutdown") }, "ERROR_down"],
    [{ seen: here("shutdown"), ...USERS }, "USER_down"],
    [{ seen: here("shutdown"), ...USERS, hypervisorUserShutdown: false }, "ERROR_down"],
    [{ seen: here("crashed"), ...USERS }, "ERROR_down"],
    [{ seen: here("shutdown"), adminState: "down" }, "ADMIN_down"],
    [{}, "ERROR_down"],
    [{ adminState: "down" }, "ADMIN_down"],
    [{ adminState: "down", adminStateSource: "user" }, "ADMIN_down"],
    [{ adminState: "down", adminStateSource: "user", ...USERS }, "USER_down"],
    [{ adminState: "down", ...USERS }, "ADMIN_down"],
    [{ adminState: "offline" }, "ADMIN_offline"],
  ])("%j is %s", (facts, status) => {
    expect(instanceStatus({ ...BASE, ...facts })).toBe(status);
  });
});
