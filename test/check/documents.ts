/**
 * Keeps the documents in step with the code: what is derived from it, and the paths they name. With `--write` what is
 * derived is written instead of compared.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { OPCODES } from "@gannet/opcodes";
import { commandTree } from "../../services/cli/src/command-tree.ts";
import { EXIT_CODES } from "../../services/cli/src/exit-codes.ts";
import { markdownOf } from "../../services/cli/src/reference/markdown.ts";
import { referenceOf } from "../../services/cli/src/reference/reference.ts";
import { LOGICAL_UNITS } from "../../services/master/src/logical-units/registry.ts";

const root = path.resolve(import.meta.dirname, "../..");
const write = process.argv.includes("--write");
const problems: string[] = [];

/** Sections between `<!-- derived: NAME -->` and `<!-- end -->` in README.md. */
const DERIVED: Readonly<Record<string, () => string>> = {
  "opcodes that are carried out": () => wrapped([...LOGICAL_UNITS.keys()].sort().map((id) => `\`${id}\``)),
  "exit codes of gnt": () =>
    ["| exit code | |", "|---|---|", ...EXIT_CODES.map(([code, meaning]) => `| ${code} | ${meaning} |`), ""].join("\n"),
};
/** Documents that are derived as a whole. */
const GENERATED: Readonly<Record<string, () => string>> = {
  "services/cli/COMMANDS.md": () => markdownOf(referenceOf(commandTree())),
};

for (const [name, derive] of Object.entries(DERIVED)) checkSection("README.md", name, derive());
for (const [document, derive] of Object.entries(GENERATED)) checkDocument(document, derive());
for (const document of ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"]) checkPaths(document);
for (const id of LOGICAL_UNITS.keys())
  if (!OPCODES.has(id)) problems.push(`logical unit ${id} has no opcode declaration`);

for (const problem of problems) console.error(problem);
console.log(`documents: ${problems.length} problems`);
process.exitCode = problems.length === 0 ? 0 : 1;

function checkSection(document: string, name: string, content: string): void {
  const file = path.join(root, document);
  const text = readFileSync(file, "utf8");
  const [begin, end] = [`<!-- derived: ${name} -->\n`, "<!-- end -->"];
  const start = text.indexOf(begin);
  const stop = text.indexOf(end, start);
  if (start < 0 || stop < 0) {
    problems.push(`${document} has no section "${name}"`);
    return;
  }
  const from = start + begin.length;
  if (text.slice(from, stop) === content) return;
  if (write) writeFileSync(file, text.slice(0, from) + content + text.slice(stop));
  else problems.push(`${document}: section "${name}" is not what the code says: run make generate`);
}

function checkDocument(document: string, content: string): void {
  const file = path.join(root, document);
  if (existsSync(file) && readFileSync(file, "utf8") === content) return;
  if (write) writeFileSync(file, content);
  else problems.push(`${document} is not what the code says: run make generate`);
}

/** Every repository path that a document names in backticks must exist. */
function checkPaths(document: string): void {
  const text = readFileSync(path.join(root, document), "utf8");
  for (const [, quoted = ""] of text.matchAll(/`([^`\n]+)`/g)) {
    if (!/^(libs|services|deploy|test|proto|\.ci)\/[\w./<>-]+$/.test(quoted)) continue;
    const known = quoted.replace(/\/[^/]*<.*$/, "");
    if (!existsSync(path.join(root, known))) problems.push(`${document} names ${quoted}, which does not exist`);
  }
}

/** Words joined by commas, in lines of at most 120 characters. */
function wrapped(words: readonly string[]): string {
  const lines: string[] = [];
  for (const word of words.map((each, index) => (index + 1 < words.length ? `${each},` : each))) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + word.length < 119) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return `${lines.join("\n")}\n`;
}
