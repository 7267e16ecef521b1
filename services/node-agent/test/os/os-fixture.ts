/** OS definitions written into a temporary search path, and an instance to install. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type { GuestSpec } from "@gannet/driver-contract";
import { createCommandRunner } from "@gannet/exec";
import { silentLogger } from "@gannet/telemetry";
import { createOsDefinitions, type OsCreateRequest, type OsDefinitionsOptions } from "../../src/os/index.ts";

/** File name to contents; those in {@link SCRIPTS} become executable. */
export type Files = Readonly<Record<string, string | null>>;

const SCRIPTS = ["create", "create_untrusted", "import", "export", "rename", "verify"];
const NOTHING = "#!/bin/sh\nexit 0\n";

const API_20: Files = {
  ganeti_api_version: "20\n",
  create: NOTHING,
  import: NOTHING,
  export: NOTHING,
  rename: NOTHING,
  verify: NOTHING,
  "parameters.list": "",
};

export async function osFixture() {
  const base = await mkdtemp(path.join(tmpdir(), "gannet-os-"));
  const [first, second, stateDir] = [path.join(base, "first"), path.join(base, "second"), path.join(base, "state")];
  for (const folder of [first, second, stateDir]) await mkdir(folder);
  const logger = silentLogger();
  const options = {
    searchPath: [first, path.join(base, "missing"), second],
    stateDir,
    runner: createCommandRunner({ logger, killGraceMs: 200 }),
    logger,
  };

  return {
    base,
    first,
    second,
    logFolder: path.join(stateDir, "os-logs"),
    definitions: (changes: Partial<OsDefinitionsOptions> = {}) => createOsDefinitions({ ...options, ...changes }),
    /** An API 20 definition without parameters, changed by these files; null leaves one out. */
    define: async (name: string, files: Files = {}, folder = first) => {
      const place = path.join(folder, name);
      await mkdir(place);
      for (const [file, contents] of Object.entries({ ...API_20, ...files }))
        if (contents !== null)
          await writeFile(path.join(place, file), contents, { mode: SCRIPTS.includes(file) ? 0o755 : 0o644 });
      return place;
    },
    close: () => rm(base, { recursive: true }),
  };
}

export type OsFixture = Awaited<ReturnType<typeof osFixture>>;

export const GUEST: GuestSpec = {
  name: "web1.example.com",
  uuid: "9c1a3c4e-5f6d-4d8e-9b0a-1c2d3e4f5a6b",
  hypervisor: "kvm",
  maxMemoryMib: 512,
  startMemoryMib: 512,
  vcpus: 2,
  disks: [],
  nics: [],
  hvparams: {},
  networkPort: null,
};

export function createRequest(os: string, changes: Partial<OsCreateRequest> = {}): OsCreateRequest {
  return {
    os,
    guest: GUEST,
    parameters: {},
    reinstall: false,
    debugLevel: 0,
    beparams: {},
    ctime: 1_700_000_000.25,
    mtime: 1_700_000_100,
    primaryNode: "11111111-2222-4333-8444-555555555555",
    secondaryNodes: [],
    ...changes,
  };
}

export const validateRequest = (os: string, parameters: Readonly<Record<string, string>> = {}) => ({
  os,
  parameters,
  forceVariant: false,
  runVerifyScript: true,
});
