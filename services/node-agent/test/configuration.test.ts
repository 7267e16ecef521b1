import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { ConfigurationError } from "@gannet/errors";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readConfiguration } from "../src/configuration.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "gannet-configuration-"));
});
afterAll(() => rm(folder, { recursive: true }));

const SMALLEST = { nodeName: "node1", stateDir: "/var/lib/gannet", pkiDir: "/etc/gannet/pki", hypervisors: ["kvm"] };

async function read(content: unknown) {
  const file = path.join(folder, "agent.json");
  await writeFile(file, typeof content === "string" ? content : JSON.stringify(content));
  return readConfiguration(file);
}

test("what is left out has its default", async () => {
  expect(await read(SMALLEST)).toMatchObject({
    listen: { host: "0.0.0.0", port: 1811 },
    fileStorageRoots: [],
    osSearchPath: expect.arrayContaining(["/usr/share/ganeti/os"]),
    kvm: { acceleration: "auto" },
    metadata: { enabled: false, address: "169.254.169.254", port: 80 },
    log: { level: "info", format: "json" },
    development: false,
  });
});

test.each([
  ["no JSON", "{", /is no JSON/],
  ["no object", "[]", /file: /],
  ["an unknown setting", { ...SMALLEST, nodename: "x" }, /nodename/],
  ["an unknown setting inside one", { ...SMALLEST, listen: { prot: 1 } }, /listen: .*prot/],
  ["several at once", { ...SMALLEST, stateDir: "relative", hypervisors: [] }, /stateDir: .*; hypervisors: /],
  [
    "a root with ..",
    { ...SMALLEST, fileStorageRoots: ["/srv/../etc"] },
    /fileStorageRoots.0: must be an absolute path/,
  ],
  ["a hypervisor that is none", { ...SMALLEST, hypervisors: ["xen"] }, /hypervisors.0: .*"xen-pvm"/],
  [
    "metadata for everybody",
    { ...SMALLEST, metadata: { address: "0.0.0.0" } },
    /metadata.address: must be one address/,
  ],
  ["a port that is none", { ...SMALLEST, listen: { port: 65536 } }, /listen.port/],
])("%s is refused with the place named", async (_what, content, message) => {
  await expect(read(content)).rejects.toThrow(ConfigurationError);
  await expect(read(content)).rejects.toThrow(message);
});

test("a file that is not there is named", async () => {
  await expect(readConfiguration("/nonexistent/agent.json")).rejects.toThrow(
    /cannot be read: .*\/nonexistent\/agent.json/,
  );
});
