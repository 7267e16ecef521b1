/** From when to when certificates in files are valid. */
import { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";

export interface CertificateValidity {
  readonly path: string;
  /** Milliseconds since 1970: the first and the last moment; 0 where there is a problem. */
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** Empty, or why it cannot be read. */
  readonly problem: string;
}

/** What is wrong with the file is told, never thrown. Of one with several certificates the first is told of. */
export async function certificateValidity(path: string): Promise<CertificateValidity> {
  try {
    const { validFromDate, validToDate } = new X509Certificate(await readFile(path));
    return { path, notBeforeMs: validFromDate.getTime(), notAfterMs: validToDate.getTime(), problem: "" };
  } catch (error) {
    return { path, notBeforeMs: 0, notAfterMs: 0, problem: error instanceof Error ? error.message : String(error) };
  }
}
