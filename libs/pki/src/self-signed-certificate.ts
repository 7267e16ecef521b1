/** Certificates that nobody issues: whoever is given one trusts exactly its owner. */
import { mkdir, readFile, rename } from "node:fs/promises";
import path from "node:path";
import type { CommandRunner } from "@gannet/exec";
import { configuration, inPrivateFolder, NEW_KEY, openssl, randomSerial, seal, sync, writePrivate } from "./openssl.ts";

export interface SelfSignedRequest {
  /** Of the owner, a host name. Left out when longer than X.509 allows. */
  readonly commonName: string;
  /** Further host names by which the owner is known. */
  readonly alternativeNames?: readonly string[];
  /** Rounded up to whole days, as openssl takes it. */
  readonly validitySeconds: number;
  /** Receives `cert.pem` and `key.pem`; must not exist, its parent must. */
  readonly dir: string;
  readonly runner: CommandRunner;
}

const DAY_SECONDS = 24 * 60 * 60;
/** RFC 5280, ub-common-name. */
const COMMON_NAME_CHARS = 64;

/** For both sides of a connection. @returns the certificate, PEM */
export async function createSelfSignedCertificate(request: SelfSignedRequest): Promise<string> {
  const { commonName, alternativeNames = [], validitySeconds, dir, runner } = request;
  return inPrivateFolder(`${dir}.new-`, async (folder) => {
    const config = path.join(folder, "openssl.cnf");
    const made = path.join(folder, "made");
    await writePrivate(
      config,
      configuration({
        subject: commonName.length <= COMMON_NAME_CHARS ? [["CN", commonName]] : [["OU", "transfer"]],
        extensions: {
          basicConstraints: "critical, CA:FALSE",
          extendedKeyUsage: "serverAuth, clientAuth",
          subjectAltName: [commonName, ...alternativeNames].map((name) => `DNS:${name}`).join(", "),
        },
      }),
    );
    await mkdir(made, { mode: 0o700 });
    const [key, cert] = [path.join(made, "key.pem"), path.join(made, "cert.pem")];
    await openssl(runner, [
      ...["req", "-x509", "-config", config, "-extensions", "extensions", ...NEW_KEY, "-sha256"],
      ...["-days", String(Math.ceil(validitySeconds / DAY_SECONDS)), "-set_serial", randomSerial()],
      ...["-keyout", key, "-out", cert],
    ]);
    await seal(key, 0o600);
    await seal(cert, 0o600);
    await sync(made);
    await rename(made, dir);
    await sync(path.dirname(dir));
    return readFile(path.join(dir, "cert.pem"), "utf8");
  });
}
