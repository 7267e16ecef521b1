/** Options that many commands have. */
import { OpPrereqError } from "@gannet/errors";
import { SUBMIT_PRIORITIES } from "@gannet/opcodes";
import type { Gathered, OptionSpec } from "./option-spec.ts";

/** An option of the program itself that takes nothing. */
export function controlFlag(flags: string, doc: string, name: string): OptionSpec {
  return {
    flags,
    doc,
    apply: ({ control }) => {
      control[name] = true;
    },
  };
}

/** An option of the program itself that takes a text. */
export function controlText(flags: string, doc: string, name: string): OptionSpec {
  return {
    flags,
    doc,
    apply: ({ control }, value) => {
      control[name] = value;
    },
  };
}

export const JSON_OUTPUT = controlFlag("--json", "Print JSON.", "json");
export const YES = controlFlag("-y, --yes", "Do not ask.", "yes");

/** Ganeti's words for the priorities that a job may be submitted with. */
const PRIORITY_WORDS: Readonly<Record<string, (typeof SUBMIT_PRIORITIES)[number]>> = { high: -10, normal: 0, low: 10 };

function setPriority({ params }: Gathered, text: string): void {
  const priority = PRIORITY_WORDS[text] ?? SUBMIT_PRIORITIES.find((known) => String(known) === text);
  if (priority === undefined)
    throw new OpPrereqError(`--priority takes low, normal or high, not ${JSON.stringify(text)}`, "wrong_input");
  params.priority = priority;
}

/** `17`, or `17:success,error` */
function addDependency({ params }: Gathered, text: string): void {
  const [, id = "", statuses = ""] = /^(\d{1,15})(?::([a-z,]*))?$/.exec(text) ?? [];
  if (id === "")
    throw new OpPrereqError(`--depend takes a job id, or ID:status,…, not ${JSON.stringify(text)}`, "wrong_input");
  const before = Array.isArray(params.depends) ? (params.depends as unknown[]) : [];
  params.depends = [...before, [Number(id), statuses.split(",").filter((status) => status !== "")]];
}

/** Of every command that submits a job. */
export const JOB_OPTIONS: readonly OptionSpec[] = [
  controlFlag("--submit", "Print the job's id instead of waiting for its end.", "submit"),
  controlFlag("--print-jobid", "Print the job's id and wait.", "printJobId"),
  {
    flags: "--dry-run",
    doc: "Run the checks only.",
    apply: ({ params }) => {
      params.dry_run = true;
    },
  },
  {
    flags: "--priority <low|normal|high>",
    doc: "How urgent the job is.",
    words: Object.keys(PRIORITY_WORDS),
    apply: setPriority,
  },
  controlText("--reason <text>", "Why; it is kept in the job's reason trail.", "reason"),
  {
    flags: "--comment <text>",
    doc: "A remark that is shown with the job.",
    apply: ({ params }, text) => {
      params.comment = text;
    },
  },
  { flags: "--depend <job[:status,...]>", doc: "A job that must be over first; may repeat.", apply: addDependency },
  JSON_OUTPUT,
];
