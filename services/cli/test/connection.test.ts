/** Which cluster is meant and who asks: options, environment, files. */
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { HttpError } from "@gannet/errors";
import { JOIN_SERVER_NAME } from "@gannet/opcodes";
import { createCa, IDENTITY_FILES, issueCertificate } from "@gannet/pki";
import { AnswerLost } from "@gannet/rapi-client";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { confirm } from "../src/confirmation.ts";
import { type ClusterOptions, connect } from "../src/connection/cluster-choice.ts";
import type { LocalPlaces } from "../src/connection/local-cluster.ts";
import { readCredentials, readToken } from "../src/connection/secret-file.ts";
import { Unconfirmed } from "../src/exit-codes.ts";
import { fakeTerminal } from "./fake-terminal.ts";

let folder: string;
let home: string;
let caFile: string;
/** The cluster's own, where the operator's certificate is of another. */
let localAuthority: string;
let url: string;
let asked: (string | undefined)[] = [];
let server: ReturnType<typeof createServer>;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "gnt-connection-"));
  const caDir = path.join(folder, "ca");
  const ca = await createCa({ dir: caDir });
  const dir = path.join(folder, "server");
  await issueCertificate({ ca, name: "rapi", usage: "rapi", dir, sans: ["127.0.0.1", "localhost"] });
  caFile = path.join(dir, IDENTITY_FILES.ca);
  const [cert, key] = await Promise.all(
    [IDENTITY_FILES.cert, IDENTITY_FILES.key].map((file) => readFile(path.join(dir, file))),
  );
  const local = path.join(folder, "local");
  const localCa = await createCa({ dir: path.join(folder, "local-ca") });
  await issueCertificate({ ca: localCa, name: JOIN_SERVER_NAME, usage: "rapi", dir: local, sans: [] });
  localAuthority = path.join(local, IDENTITY_FILES.ca);
  server = createServer({ cert, key }, (request, response) => {
    asked.push(request.headers.authorization);
    response.end("2\n");
  });
  const [joinCert, joinKey] = await Promise.all(
    [IDENTITY_FILES.cert, IDENTITY_FILES.key].map((file) => readFile(path.join(local, file))),
  );
  server.addContext(JOIN_SERVER_NAME, { cert: joinCert, key: joinKey });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(async () => {
  server?.close();
  await rm(folder, { recursive: true, force: true });
});
beforeEach(async () => {
  asked = [];
  home = await mkdtemp(path.join(folder, "home-"));
});

async function secret(name: string, text: string, mode = 0o600): Promise<string> {
  const file = path.join(home, name);
  await mkdir(path.dirname(file), { recursive: true });
  await writeFile(file, text, { mode });
  await chmod(file, mode);
  return file;
}

const NOWHERE: LocalPlaces = {
  configuration: "/nonexistent/master.json",
  authority: "/nonexistent/ca.pem",
  credentials: "/nonexistent/credentials",
};
const basic = (text: string) => `Basic ${Buffer.from(text).toString("base64")}`;

/** What a request of this choice is asked with. */
async function authorization(
  options: ClusterOptions,
  env: NodeJS.ProcessEnv = {},
  { terminal } = fakeTerminal(),
  local = NOWHERE,
): Promise<string | undefined> {
  const { client: opened } = await connect(options, { HOME: home, ...env }, terminal, local);
  using client = opened;
  expect(await client.get("/version")).toBe(2);
  return asked.at(-1);
}

describe("who asks", () => {
  test("a credentials file, a token file, or what is typed", async () => {
    const credentials = await secret("credentials", "admin a password\n");
    const token = await secret("token", "gt_abc\n");
    const options = { cluster: url, ca: caFile };
    expect(await authorization(options, { GNT_CREDENTIALS: credentials })).toBe(basic("admin:a password"));
    expect(await authorization(options, { GNT_TOKEN_FILE: token })).toBe("Bearer gt_abc");
    expect(await authorization({ ...options, credentials }, { GNT_TOKEN_FILE: token })).toBe(basic("admin:a password"));
    const typing = fakeTerminal({ isInteractive: true });
    typing.answers.push("bob", "hush");
    expect(await authorization(options, {}, typing)).toBe(basic("bob:hush"));
    expect(typing.questions).toEqual(["User: ", "Password: "]);
  });

  test("nobody, where nobody can be asked", async () => {
    await expect(authorization({ cluster: url, ca: caFile })).rejects.toThrow(/GNT_CREDENTIALS/);
  });

  test("files that others may read, or that hold something else, are refused", async () => {
    await expect(readCredentials(await secret("open", "a b", 0o640))).rejects.toThrow(/chmod 600/);
    await expect(readCredentials(await secret("short", "admin"))).rejects.toThrow(/a user, a blank and the password/);
    await expect(readToken(await secret("long", "two words"))).rejects.toThrow(/one API token/);
    await expect(readCredentials("/nonexistent")).rejects.toThrow(/cannot be read/);
  });
});

describe("which cluster", () => {
  test("an authority that was given once is known afterwards", async () => {
    const env = { GNT_CREDENTIALS: await secret("credentials", "a b") };
    const first = fakeTerminal();
    await authorization({ cluster: url, ca: caFile }, env, first);
    expect(first.notes).toEqual([expect.stringMatching(/^The authority of 127\.0\.0\.1:\d+ is kept in .*\.ca\.pem/)]);
    const second = fakeTerminal();
    await authorization({ cluster: url, ca: caFile }, env, second);
    expect(second.notes).toEqual([]);
    expect(await authorization({ cluster: url }, env)).toBe(basic("a:b"));
  });

  test("a name of the configuration file, and its default", async () => {
    const credentials = await secret("own", "carol x");
    const configuration = { default: "prod", clusters: { prod: { url, ca: caFile, credentials }, other: { url } } };
    await secret(".config/gannet/gnt.json", JSON.stringify(configuration));
    expect(await authorization({})).toBe(basic("carol:x"));
    expect(await authorization({}, { GNT_CLUSTER: "prod" })).toBe(basic("carol:x"));
    await expect(authorization({ cluster: "test" })).rejects.toThrow(
      'No cluster is named "test"; there are: prod, other',
    );
  });

  describe("this machine's, for root on a master", () => {
    let places: LocalPlaces;
    const withPort = (port: number | string) => JSON.stringify({ nodeName: "node1", rapi: { port: Number(port) } });
    beforeEach(async () => {
      places = {
        configuration: await secret("master.json", withPort(new URL(url).port)),
        authority: localAuthority,
        credentials: await secret("admin", "root y\n"),
      };
    });
    const asRoot = (options: ClusterOptions = {}, env: NodeJS.ProcessEnv = {}) =>
      authorization(options, env, undefined, places);

    test("by its own port, files and authority, whatever certificate others are shown", async () => {
      expect(await asRoot()).toBe(basic("root:y"));
      const other = await secret("credentials", "carol x");
      expect(await asRoot({ credentials: other })).toBe(basic("carol:x"));
      // Whoever names it by its address is shown the operator's certificate, which is of another authority.
      await expect(asRoot({ cluster: url, ca: localAuthority, credentials: other })).rejects.toThrow(/not trusted/);
    });

    test("unless another one is said", async () => {
      await expect(authorization({}, { GNT_CLUSTER: "a b" }, undefined, places)).rejects.toThrow(/not "https:\/\/a b"/);
      await expect(authorization({})).rejects.toThrow(/--cluster URL.*on a master's machine root need not/);
    });

    test("with the way out where its files are of no use", async () => {
      places = { ...places, credentials: path.join(home, "none") };
      await expect(asRoot()).rejects.toThrow(/none cannot be read: ENOENT.*USER PASSWORD.*--credentials FILE/);
      places = { ...places, authority: path.join(home, "no-ca.pem") };
      await expect(asRoot()).rejects.toThrow(/A master is on this machine.*--cluster URL and --credentials FILE/);
      places = { ...places, authority: localAuthority, configuration: await secret("broken.json", "{}") };
      await expect(asRoot()).rejects.toThrow(/broken\.json does not say where/);
    });

    test("with the way out where it does not answer, or does not know who asks", async () => {
      const told = async (failure: unknown) => {
        const { client: opened, explained } = await connect({}, { HOME: home }, fakeTerminal().terminal, places);
        opened[Symbol.dispose]();
        return explained(failure);
      };
      expect(await told(new HttpError(401, "Unauthorized"))).toMatchObject({
        ...{ status: 401, message: expect.stringMatching(/admin does not count.*USER PASSWORD/) },
      });
      expect(await told(new AnswerLost("nobody answers"))).toMatchObject({
        message: expect.stringContaining("systemctl status gannet-master"),
      });
      const other = new HttpError(404, "Not found");
      expect(await told(other)).toBe(other);
    });
  });

  test.each(["http://a:5080", "https://admin:secret@a:5080", "::"])("%s is no cluster", async (cluster) => {
    const env = { GNT_CREDENTIALS: await secret("credentials", "a b") };
    await expect(authorization({ cluster }, env)).rejects.toThrow(/A cluster is named as https/);
  });

  test("a broken configuration file is named", async () => {
    await secret(".config/gannet/gnt.json", '{"clusters": {"a": {"link": 1}}}');
    await expect(authorization({})).rejects.toThrow(/gnt\.json: clusters\.a/);
  });
});

describe("questions", () => {
  const nothing = { params: {}, control: {} };

  test("are put to who can answer", async () => {
    const yes = fakeTerminal({ isInteractive: true });
    yes.answers.push("Yes");
    await confirm("instance remove", ["web1"], nothing, yes.terminal);
    expect(yes.questions).toEqual(["Remove web1 with its disks? What is on them is lost. [y/N] "]);
    const no = fakeTerminal({ isInteractive: true });
    await expect(confirm("instance remove", ["web1"], nothing, no.terminal)).rejects.toThrow(Unconfirmed);
  });

  test("are needless where the answer is given, or where nothing is lost", async () => {
    const { terminal, questions } = fakeTerminal({ isInteractive: true });
    await confirm("instance remove", ["web1"], { params: {}, control: { yes: true } }, terminal);
    await confirm("instance remove", ["web1"], { params: { dry_run: true }, control: {} }, terminal);
    await confirm("instance startup", ["web1", "web2"], nothing, terminal);
    await confirm("instance shutdown", ["web1"], nothing, terminal);
    await confirm("node power", ["node1"], { params: { command: "power-status" }, control: {} }, terminal);
    expect(questions).toEqual([]);
    await expect(confirm("instance shutdown", ["a", "b"], nothing, terminal)).rejects.toThrow("Nothing was done");
  });

  test("refuse where nobody can answer", async () => {
    const { terminal } = fakeTerminal();
    await expect(confirm("node powercycle", ["node1"], nothing, terminal)).rejects.toThrow(/say --yes/);
  });
});
