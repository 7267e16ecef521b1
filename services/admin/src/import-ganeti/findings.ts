/** What a translation has to say: each thing with its place in the file, and whether the operator lets it be left out. */
import { GannetError } from "@gannet/errors";

/** `["instances", "web1.example.com", "hvparams", "foo"]`: names stand where they are unique, else the file's keys. */
export type Path = readonly (string | number)[];

/** Something that cannot be taken over. */
export interface Problem {
  /** `instances/web1.example.com/hvparams/foo` */
  readonly path: string;
  readonly reason: string;
  /** What is missing in the new cluster when this is skipped; undefined when nothing can be done without it. */
  readonly leavesOut: string | undefined;
  /** The operator has named it. */
  readonly skipped: boolean;
}

/** Something that is taken over in another form, or that an operator should know. */
export interface Note {
  readonly path: string;
  readonly text: string;
}

/** Thrown inside the translation of one object, which cannot be taken over. */
export class NotTranslatable extends Error {
  readonly path: Path;

  constructor(path: Path, reason: string) {
    super(reason);
    this.path = path;
  }
}

export class Findings {
  readonly problems: Problem[] = [];
  readonly notes: Note[] = [];
  readonly #skips: readonly string[];
  readonly #used = new Set<string>();

  /** @param skips - paths that may be left out, with everything below them */
  constructor(skips: readonly string[]) {
    this.#skips = skips.map((skip) => skip.replace(/^\/+|\/+$/g, ""));
  }

  /** The skips that no problem has, which are likely misspelt. */
  get unusedSkips(): readonly string[] {
    return this.#skips.filter((skip) => !this.#used.has(skip));
  }

  problem(path: Path, reason: string, leavesOut: string): void {
    const at = pathText(path);
    const skips = this.#skips.filter((skip) => at === skip || at.startsWith(`${skip}/`));
    for (const skip of skips) this.#used.add(skip);
    this.problems.push({ path: at, reason, leavesOut, skipped: skips.length > 0 });
  }

  /** Without this there is no cluster. */
  fatal(path: Path, reason: string): void {
    this.problems.push({ path: pathText(path), reason, leavesOut: undefined, skipped: false });
  }

  note(path: Path, text: string): void {
    this.notes.push({ path: pathText(path), text });
  }

  /** What `translate` answers; undefined, with the problem noted, when it cannot be taken over. */
  attempt<T>(leavesOut: string, path: Path, translate: () => T): T | undefined {
    try {
      return translate();
    } catch (error) {
      const told = asNotTranslatable(path, error);
      this.problem(told.path, told.message, leavesOut);
      return undefined;
    }
  }
}

/** Refusals of the model's own checks are findings of the place that was checked. Anything else is a defect. */
export function asNotTranslatable(path: Path, error: unknown): NotTranslatable {
  if (error instanceof NotTranslatable) return error;
  if (error instanceof GannetError) return new NotTranslatable(path, error.message);
  throw error;
}

/** Control characters of a damaged file stay out of the operator's terminal. */
export function pathText(path: Path): string {
  return path.map((part) => printable(String(part))).join("/");
}

const LONGEST_SHOWN = 120;

/** Text from the file as it may be shown. */
export function printable(text: string): string {
  const plain = text.replace(/\p{Cc}|\p{Cf}|\p{Zl}|\p{Zp}|\p{Cs}/gu, "?");
  return plain.length > LONGEST_SHOWN ? `${plain.slice(0, LONGEST_SHOWN)}…` : plain;
}

/** A value from the file as messages show it. */
export function shown(value: unknown): string {
  return printable(JSON.stringify(value) ?? String(value));
}
