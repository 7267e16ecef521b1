/** Certificates that nobody issues: whoever is given one trusts exactly its owner. */
import { mkdtemp, rename, rm } from "node:fs/promises";
import { replaceFiles } from "./private-files.ts";
import { COMMON_NAME_CHARS, DAY_MS, signOwnCertificate } from "./signing.ts";

export interface SelfSignedRequest {
  /** Of the owner, a host name. Left out when longer than X.509 allows. */
  readonly commonName: string;
  /** Further host names by which the owner is known. */
  readonly alternativeNames?: readonly string[];
  readonly validitySeconds: number;
  /** Receives `cert.pem` and `key.pem`; must not exist, its parent must. */
  readonly dir: string;
}

/** For both sides of a connection. @returns the certificate, PEM */
export async function createSelfSignedCertificate(request: SelfSignedRequest): Promise<string> {
  const { commonName, alternativeNames = [], validitySeconds, dir } = request;
  const { certificate, key } = await signOwnCertificate({
    subject: commonName.length <= COMMON_NAME_CHARS ? [["CN", commonName]] : [["OU", "transfer"]],
    names: [commonName, ...alternativeNames],
    extendedKeyUsages: ["serverAuth", "clientAuth"],
    validDays: (validitySeconds * 1000) / DAY_MS,
  });
  const folder = await mkdtemp(`${dir}.new-`);
  try {
    await replaceFiles(folder, {
      "key.pem": { content: key, mode: 0o600 },
      "cert.pem": { content: certificate, mode: 0o600 },
    });
    await rename(folder, dir);
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
  return certificate;
}
