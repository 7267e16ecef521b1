/** A terminal in which a test runs a command, reads what it shows, and types. */
import { type ChildProcess, spawn } from "node:child_process";

/** From bsdutils, which every Debian has: gives a command a terminal of its own. */
export const SCRIPT = "/usr/bin/script";
const TIMEOUT_MS = 90_000;

export class Terminal implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #ended: Promise<void>;
  #shown = "";
  #onChange: () => void = () => undefined;

  /** Run the command, an argv array. */
  constructor(command: readonly string[]) {
    const shellWords = command.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(" ");
    this.#child = spawn(SCRIPT, ["--quiet", "--flush", "--return", "--command", `exec ${shellWords}`, "/dev/null"], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    this.#child.stdout?.on("data", (chunk: Buffer) => {
      this.#shown += chunk.toString("latin1");
      this.#onChange();
    });
    this.#ended = new Promise((resolve) => {
      this.#child.once("close", () => {
        resolve();
        this.#onChange();
      });
    });
  }

  /** Everything shown so far. */
  get shown(): string {
    return this.#shown;
  }

  type(text: string): void {
    this.#child.stdin?.write(text);
  }

  /** Wait until this is shown, after what was shown when it was asked for. @throws Error with all that was shown instead */
  async shows(pattern: RegExp, { from = 0 }: { readonly from?: number } = {}): Promise<RegExpExecArray> {
    const found = await this.#until(() => pattern.exec(this.#shown.slice(from)));
    if (found === null) throw new Error(`the terminal never showed ${pattern}; it shows:\n${this.#shown}`);
    return found;
  }

  async ended(): Promise<void> {
    await this.#ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGTERM");
    await this.#ended;
  }

  /** Look now and at each change, until there is something, the command ends or it takes too long. */
  #until<Result>(look: () => Result | null): Promise<Result | null> {
    const now = look();
    if (now !== null) return Promise.resolve(now);
    return new Promise((resolve) => {
      const finish = (result: Result | null) => {
        clearTimeout(late);
        this.#onChange = () => undefined;
        resolve(result);
      };
      const late = setTimeout(() => finish(null), TIMEOUT_MS);
      void this.#ended.then(() => finish(look()));
      this.#onChange = () => {
        const found = look();
        if (found !== null) finish(found);
      };
    });
  }
}
