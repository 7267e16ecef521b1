/** Cuts a byte stream into the lines QMP consists of (qmp-spec: one JSON object a line, CR LF after each). */
import { StringDecoder } from "node:string_decoder";
import { HypervisorError } from "@gannet/errors";

/** `query-qmp-schema` answers about 250 KiB; nothing that a sane qemu sends comes near this. */
const DEFAULT_LIMIT_CHARS = 4 * 1024 * 1024;

export class LineFramer {
  readonly #limitChars: number;
  readonly #decoder = new StringDecoder("utf8");
  #partial = "";

  constructor(limitChars: number = DEFAULT_LIMIT_CHARS) {
    this.#limitChars = limitChars;
  }

  /**
   * The lines that are complete with this chunk; empty ones are left out.
   * @throws HypervisorError when a line grows beyond the limit
   */
  push(chunk: Uint8Array): readonly string[] {
    const pieces = this.#decoder.write(chunk).split("\n");
    pieces[0] = this.#partial + (pieces[0] ?? "");
    this.#partial = pieces.pop() ?? "";
    if (this.#partial.length > this.#limitChars || pieces.some((piece) => piece.length > this.#limitChars)) {
      throw new HypervisorError(`The QMP monitor sent a line of more than ${this.#limitChars} characters`);
    }
    return pieces.map((piece) => piece.trim()).filter((piece) => piece !== "");
  }
}
