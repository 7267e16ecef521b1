/**
 * `make features`: which capabilities of Ganeti are proven here, by which tests, which are missing and why, and which
 * have another thing in their place. `make check` runs it with `--check`: it then prints only what is wrong, and fails
 * when a test that is named does not exist, or is skipped. Both read test/compat/features.json and the tests' sources.
 */
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";

/** A test by its file and its title as it stands there; in a .py file a function. */
interface Proof {
  readonly file: string;
  readonly test: string;
}

interface Feature {
  readonly area: string;
  readonly capability: string;
  readonly proofs?: readonly Proof[];
  /** Why there is none yet. */
  readonly missing?: string;
  /** What is there in its place. */
  readonly not_applicable?: string;
}

const ROOT = path.resolve(import.meta.dirname, "../..");
const FEATURES = path.join(ROOT, "test/compat/features.json");

const features = JSON.parse(readFileSync(FEATURES, "utf8")) as readonly Feature[];
/** The call in which a title stands. */
const NOT_RUN = /\b(?:describe|test|it)\.(?:skip|todo)(?:\.each\([\s\S]*?\))?\(\s*$/;

const sources = new Map<string, string | undefined>();

const problems = [...features.flatMap(problemsOf), ...repeatedNames()];
if (!process.argv.includes("--check")) printTable();
for (const problem of problems) console.error(problem);
console.log(countsText());
process.exitCode = problems.length > 0 ? 1 : 0;

function problemsOf(feature: Feature): readonly string[] {
  const title = `${feature.area}: ${feature.capability}`;
  const states = [feature.proofs, feature.missing, feature.not_applicable].filter((state) => state !== undefined);
  if (states.length !== 1) return [`${title}: it must be one of proven, missing and not applicable`];
  if (feature.proofs === undefined) return states[0] === "" ? [`${title}: no reason is given`] : [];
  if (feature.proofs.length === 0) return [`${title}: no test is named`];
  return feature.proofs.flatMap((proof) => {
    const problem = problemOf(proof);
    return problem === undefined ? [] : [`${title}: ${proof.file}: ${JSON.stringify(proof.test)} ${problem}`];
  });
}

function problemOf({ file, test }: Proof): string | undefined {
  const source = sourceOf(file);
  if (source === undefined) return "is in a file that is not there";
  if (file.endsWith(".py")) return source.includes(`\ndef ${test}(`) ? undefined : "is no function of this file";
  const places = placesOf(source, test);
  if (places.length === 0) return "is no test of this file";
  return places.some((place) => !isSkipped(source, place)) ? undefined : "is skipped";
}

/** Where the title is the first argument of a call, or the name of a case in a table of them. */
function placesOf(source: string, title: string): readonly number[] {
  const literals = [JSON.stringify(title), `\`${title}\``];
  return literals.flatMap((literal) => {
    const places: number[] = [];
    for (let at = source.indexOf(literal); at >= 0; at = source.indexOf(literal, at + 1)) {
      const before = source.slice(0, at).trimEnd();
      if (before.endsWith("(") || /\b(name|title):$/.test(before)) places.push(at);
    }
    return places;
  });
}

function isSkipped(source: string, place: number): boolean {
  if (NOT_RUN.test(source.slice(Math.max(0, place - 200), place))) return true;
  // A suite that is skipped whole; one that is skipped where a tool is not installed is not.
  return /\bdescribe\.(?:skip|todo)\(/.test(source.slice(0, place));
}

function sourceOf(file: string): string | undefined {
  if (!sources.has(file)) {
    const full = path.join(ROOT, file);
    sources.set(file, existsSync(full) ? readFileSync(full, "utf8") : undefined);
  }
  return sources.get(file);
}

function repeatedNames(): readonly string[] {
  const names = features.map(({ area, capability }) => `${area}: ${capability}`);
  return names.filter((name, index) => names.indexOf(name) !== index).map((name) => `${name}: it is there twice`);
}

function printTable(): void {
  const width = Math.max(...features.map(({ area }) => area.length));
  for (const { area, capability, proofs, missing, not_applicable: instead } of features) {
    const name = `${area.padEnd(width)}  ${capability}`;
    if (missing !== undefined) console.log(`missing  ${name}\n         ${" ".repeat(width)}  because: ${missing}`);
    else if (instead !== undefined) console.log(`n/a      ${name}\n         ${" ".repeat(width)}  instead: ${instead}`);
    else console.log(`proven   ${name}`);
    for (const { file, test } of proofs ?? []) console.log(`         ${" ".repeat(width)}  ${file}: ${test}`);
  }
}

function countsText(): string {
  const proven = features.filter(({ proofs }) => proofs !== undefined).length;
  const missing = features.filter((feature) => feature.missing !== undefined).length;
  return `${proven} proven, ${missing} missing, ${features.length - proven - missing} not applicable`;
}
