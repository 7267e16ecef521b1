/** The programs of one end of a transfer, in the order in which contents pass them. Pure. */
import { OpPrereqError } from "@gannet/errors";
import type { PipelineStage } from "@gannet/exec";
import type { ScriptCommand } from "../os/index.ts";
import { ddArgv, ddHeadArgv } from "./dd.ts";

type Argv = PipelineStage["argv"];

/** An end as the programs need it. */
export type PlannedEnd =
  | { readonly kind: "disk"; readonly path: string }
  | { readonly kind: "script"; readonly command: ScriptCommand; readonly sizeDescriptor?: number }
  /** Open; the pipeline's own input or output. */
  | { readonly kind: "file"; readonly descriptor: number };

export interface PlannedTransfer {
  readonly socat: Argv;
  readonly compression: Argv | undefined;
  readonly magic: string;
  readonly end: PlannedEnd;
  /** What each program says, by its part in the transfer. */
  readonly onLine: (program: Program, line: string) => void;
  readonly onDdStart: (pid: number) => void;
}

export type Program = "socat" | "dd" | "compression" | "script";

/** Ganeti's, which its shell commands rely on. */
const MAGIC = /^[-_.a-zA-Z0-9]{5,100}$/;
/** The number of the descriptor at which a stage finds its extra file (libs/exec). */
const SIZE_DESCRIPTOR = 3;

/** @throws OpPrereqError */
export function checkMagic(magic: string): void {
  if (magic !== "" && !MAGIC.test(magic))
    throw new OpPrereqError("A transfer's magic is 5 to 100 letters, digits, -, _ and .", "wrong_input");
}

/** socat | decompress | [magic] dd | script */
export function importStages(plan: PlannedTransfer): readonly PipelineStage[] {
  const { end, magic } = plan;
  return [
    stage(plan, "socat", plan.socat),
    ...(plan.compression === undefined ? [] : [stage(plan, "compression", plan.compression)]),
    {
      ...ddStage(plan, { ...(end.kind === "disk" ? { to: end.path } : {}), durable: end.kind !== "script" }),
      ...(magic === "" ? {} : { preface: magicCheck(magic) }),
    },
    ...scriptStages(plan),
  ];
}

/** script | [magic] dd | compress | socat */
export function exportStages(plan: PlannedTransfer): readonly PipelineStage[] {
  const { end, magic } = plan;
  return [
    ...scriptStages(plan),
    {
      ...ddStage(plan, end.kind === "disk" ? { from: end.path } : {}),
      ...(magic === "" ? {} : { lead: magicText(magic) }),
    },
    ...(plan.compression === undefined ? [] : [stage(plan, "compression", plan.compression)]),
    stage(plan, "socat", plan.socat),
  ];
}

function stage(plan: PlannedTransfer, program: Program, argv: Argv): PipelineStage {
  return { argv, onLine: (line) => plan.onLine(program, line) };
}

function ddStage(plan: PlannedTransfer, files: Parameters<typeof ddArgv>[0]): PipelineStage {
  return { ...stage(plan, "dd", ddArgv(files)), onStart: plan.onDdStart };
}

function scriptStages(plan: PlannedTransfer): readonly PipelineStage[] {
  if (plan.end.kind !== "script") return [];
  const { command, sizeDescriptor } = plan.end;
  return [
    {
      ...stage(plan, "script", command.argv),
      cwd: command.cwd,
      env: sizeDescriptor === undefined ? command.env : { ...command.env, EXP_SIZE_FD: String(SIZE_DESCRIPTOR) },
      ...(sizeDescriptor === undefined ? {} : { extraDescriptor: sizeDescriptor }),
    },
  ];
}

function magicText(magic: string): string {
  return `M=${magic}`;
}

function magicCheck(magic: string): NonNullable<PipelineStage["preface"]> {
  const expected = magicText(magic);
  return {
    argv: ddHeadArgv(expected.length),
    accept: (printed) => {
      if (printed !== expected) throw new OpPrereqError("The sender's magic is not this transfer's", "wrong_input");
    },
  };
}
