/**
 * The life of a cluster of four nodes that a real Ganeti 3.0.2 has answered for, asked of this master request by
 * request: the same status, the same keys and JSON types, and of each job the same end, with the same classes of
 * errors. What Gannet does otherwise on purpose stands, with its reason, in test/compat/DIFFERENCES.md, which is read
 * here: a difference that is not listed fails, and so does a listed one that does not exist any more.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { OpPrereqError } from "@gannet/errors";
import type { NodeUuid } from "@gannet/objects";
import { beforeAll, expect, test } from "vitest";
import { type FuzzBed, startFuzzBed } from "../fuzz/fuzz-bed.ts";
import type { LogicalUnitBed } from "../logical-units/logical-unit-bed.ts";
import { nodeRow, snapshot, uuidOf } from "./cluster-fixture.ts";
import { type Shape, shapeDifferences } from "./recorded-shapes.ts";

const NODE4 = "node4.gnt.test";
const ADDRESS4 = "198.51.100.4";
const OPERATING_SYSTEMS = ["noop"];

interface RecordedRequest {
  readonly name: string;
  readonly method: string;
  readonly path: string;
  readonly body?: unknown;
  readonly raw?: string;
  readonly status: number;
  /** What it was answered with, a job's id or a filter rule's UUID, that later requests name. */
  readonly id?: number | string;
  readonly shape?: Shape;
  readonly job?: { readonly status: string; readonly results: readonly RecordedResult[]; readonly shape: Shape };
}

/** The class of an error, and its code where it has one. */
type RecordedResult = { readonly error: readonly string[] } | { readonly shape: Shape };

const RECORDED: readonly RecordedRequest[] = readFileSync(
  join(import.meta.dirname, "fixtures/recorded-life.jsonl"),
  "utf8",
)
  .trim()
  .split("\n")
  .map((line) => JSON.parse(line));

const DOCUMENT = join(import.meta.dirname, "../../../../test/compat/DIFFERENCES.md");

/** Found and listed: `request: difference`. */
const found = new Set<string>();
let answered = 0;

beforeAll(async () => {
  const cluster = { enabledHypervisors: ["fake" as const], enabledDiskTemplates: TEMPLATES };
  await using bed = await startFuzzBed({ cluster, populate: fourNodes });
  const ids = new Map<string, string>();
  for (const recorded of RECORDED) {
    for (const difference of await differencesOf(bed, recorded, ids)) found.add(difference);
    answered += 1;
  }
}, 120_000);

const TEMPLATES = ["diskless" as const, "file" as const, "sharedfile" as const];

test("every recorded request was asked", () => {
  expect(answered).toBe(RECORDED.length);
});

test("each answer is as recorded, or the difference is listed with its reason", () => {
  expect([...found].filter((each) => !listed().has(each))).toEqual([]);
});

test("each difference that is listed exists", () => {
  expect([...listed()].filter((each) => !found.has(each))).toEqual([]);
});

/** The rows of the document's table that are about requests. */
function listed(): ReadonlySet<string> {
  const rows = readFileSync(DOCUMENT, "utf8")
    .split("\n")
    .filter((line) => line.startsWith("| "))
    .map((line) => line.split(" | ").map((cell) => cell.replaceAll(/^\| | \|$/g, "")));
  for (const [what, , why] of rows.slice(2)) if (!why) throw new Error(`DIFFERENCES.md gives no reason for ${what}`);
  return new Set(rows.slice(2).map(([what, difference]) => `${what}: ${difference}`));
}

async function differencesOf(
  bed: FuzzBed,
  recorded: RecordedRequest,
  ids: Map<string, string>,
): Promise<readonly string[]> {
  const { name, method, body, raw, status, id, shape, job } = recorded;
  const translate = (text: string) =>
    text.replaceAll(/[0-9a-f-]{36}|(?<=jobs\/|\[\[)\d+/g, (each) => ids.get(each) ?? each);
  const text = raw ?? (body === undefined ? undefined : translate(JSON.stringify(body)));
  const target = translate(recorded.path);
  const reply = await bed.ask({ method, target, text });
  if (reply.status !== status) {
    if (reply.status === 200) await bed.settle();
    return [`${name}: status ${reply.status}, not ${status}`];
  }
  const resource = `${method} ${target.replace(/\?.*/, "").replace(/^(\/2\/\w+\/)[^/]+/, "$1NAME")}`;
  const differences = (at: string, of: Shape, value: unknown) =>
    shapeDifferences(of, value).map((difference) => `${at}: ${difference}`);
  if (id === undefined) return shape === undefined || status !== 200 ? [] : differences(resource, shape, reply.json);
  ids.set(String(id), String(reply.json));
  if (typeof id === "string") return typeof reply.json === "string" ? [] : [`${name}: no UUID is answered`];
  await bed.settle();
  if (job === undefined) return [];
  const ended = await bed.ask({ method: "GET", target: `/2/jobs/${reply.json}`, text: undefined });
  const {
    opresult,
    oplog: _log,
    ops: _ops,
    ...rest
  } = ended.json as Readonly<Record<string, unknown>> & {
    readonly opresult: readonly unknown[];
  };
  const how = rest.status;
  if (how !== job.status)
    return [`${name}: the job ends as ${how} (${wordOf(opresult)}), not ${job.status}${wordsOf(job.results)}`];
  return [
    ...differences("GET /2/jobs/ID", job.shape, rest),
    ...(opresult.length === job.results.length
      ? []
      : [`${name}: ${opresult.length} opcodes, not ${job.results.length}`]),
    ...job.results.flatMap((result, index) => resultDifferences(name, result, opresult[index])),
  ];
}

function resultDifferences(name: string, recorded: RecordedResult, result: unknown): readonly string[] {
  if (!("error" in recorded))
    return shapeDifferences(recorded.shape, result, "").map((each) => `${name}: result: ${each}`);
  const [className, args] = Array.isArray(result) ? (result as [string, readonly unknown[] | undefined]) : [];
  const ours = [className, ...(args ?? []).slice(1, 2)].join(", ");
  const theirs = recorded.error.join(", ");
  return ours === theirs ? [] : [`${name}: ${ours}, not ${theirs}`];
}

function wordOf(results: readonly unknown[]): string {
  const failed = results.find(
    (each): each is [string, [string, string?]] => Array.isArray(each) && typeof each[0] === "string",
  );
  return failed === undefined
    ? "no error"
    : [failed[0], failed[1]?.[1]].filter((each) => each !== undefined).join(", ");
}

function wordsOf(results: readonly RecordedResult[]): string {
  const errors = results.flatMap((result) => ("error" in result ? [result.error.join(", ")] : []));
  return errors.length === 0 ? "" : ` (${errors[0]})`;
}

/** As the recorded cluster: a fourth node, and one OS definition. */
async function fourNodes({ nodes, live, view, commit, setCluster, uuidOf: uuid }: LogicalUnitBed): Promise<void> {
  const fourth = nodeRow(NODE4, { primaryIp: "192.0.2.4", secondaryIp: ADDRESS4, masterCandidate: true });
  await commit(() => [{ kind: "node", put: { ...fourth, serialNo: 0 } }]);
  nodes.add(uuidOf<NodeUuid>(NODE4), NODE4, ADDRESS4);
  const { ipolicy } = view.cluster;
  await setCluster({ ipolicy: { ...ipolicy, minmax: ipolicy.minmax.map(withSmallDisks) } });
  for (const { name } of nodes.all()) live.apply(uuid(name), snapshotOf(name));
  nodes.onCall = async ({ method, request }) => {
    const { os } = request as { readonly os?: string };
    if (method === "os.validate" && os !== undefined && !OPERATING_SYSTEMS.includes(os))
      throw new OpPrereqError(`OS ${os} was not found on this node`, "unknown_entity");
  };
}

/** The recorded cluster's policy took disks of 16 MiB. */
function withSmallDisks<Bounds extends { readonly min: Readonly<Record<string, number>> }>(bounds: Bounds): Bounds {
  return { ...bounds, min: { ...bounds.min, "disk-size": 1 } };
}

function snapshotOf(node: string): ReturnType<typeof snapshot> {
  const told = snapshot(node);
  if (told.update?.$case === "snapshot")
    told.update.value.os = told.update.value.os.filter(({ name }) => OPERATING_SYSTEMS.includes(name));
  return told;
}
