/** What a verification found, told in the job's log as Ganeti's `gnt-cluster verify` prints it. */
import type { VerifyErrorCode } from "@gannet/opcodes";
import type { JobFeedback } from "../../executor/context.ts";

/** One thing that was looked at. */
export interface Check {
  readonly code: VerifyErrorCode;
  /** Name of the node, instance or group; empty for the cluster. */
  readonly item: string;
  readonly ok: boolean;
  /** What is wrong when it is not ok. */
  readonly text: string;
  /** Told of, without the verification failing. */
  readonly severity?: "warning";
}

export interface ReportOptions {
  readonly error_codes: boolean;
  readonly ignore_errors: readonly VerifyErrorCode[];
  readonly debug_simulate_errors: boolean;
  readonly verbose: boolean;
}

type ItemKind = "cluster" | "group" | "instance" | "node";

/** What kind of object a code is about (spec/opcodes.json, `verify_error_codes`). */
function kindOf(code: VerifyErrorCode): ItemKind {
  // These two tell of nodes and instances by names that the cluster has no rows for.
  if (code === "ECLUSTERDANGLINGNODES" || code === "ECLUSTERDANGLINGINST") return "node";
  if (code.startsWith("ENODE")) return "node";
  if (code.startsWith("EINSTANCE")) return "instance";
  return code.startsWith("EGROUP") ? "group" : "cluster";
}

export class VerificationReport {
  readonly #feedback: JobFeedback;
  readonly #options: ReportOptions;
  #failed = false;

  constructor(feedback: JobFeedback, options: ReportOptions) {
    this.#feedback = feedback;
    this.#options = options;
  }

  /** Whether nothing but warnings was found. */
  get ok(): boolean {
    return !this.#failed;
  }

  section(title: string): void {
    this.#feedback.step(title);
  }

  /** A section that only those see who ask for every one. */
  detail(title: string): void {
    if (this.#options.verbose) this.#feedback.step(title);
  }

  notice(text: string): void {
    this.#feedback.entry("message", `  - NOTICE: ${text}`);
  }

  take(checks: readonly Check[]): void {
    for (const check of checks) if (!check.ok || this.#options.debug_simulate_errors) this.#tell(check);
  }

  #tell({ code, item, text, severity }: Check): void {
    const isError = severity !== "warning" && !this.#options.ignore_errors.includes(code);
    if (isError) this.#failed = true;
    const type = isError ? "ERROR" : "WARNING";
    const kind = kindOf(code);
    const told = this.#options.error_codes
      ? `${type}:${code}:${kind}:${item}:${text}`
      : `${type}: ${kind}${item && ` ${item}`}: ${text}`;
    this.#feedback.entry("message", `  - ${told}`);
  }
}
