/** The cluster's one certificate authority: everything that talks to anything inside a cluster trusts only it. */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { mkdir, readFile, rename } from "node:fs/promises";
import path from "node:path";
import { ConfigurationError } from "@gannet/errors";
import type { CommandRunner } from "@gannet/exec";
import { configuration, inPrivateFolder, NEW_KEY, openssl, randomSerial, seal, sync, writePrivate } from "./openssl.ts";

const VALID_DAYS = 3650;

export interface CertificateAuthority {
  /** The authority's certificate, readable by all. */
  readonly certFile: string;
  /** Its private key, mode 0600; stays on the machine that issues. */
  readonly keyFile: string;
  readonly certificate: X509Certificate;
}

/**
 * The authority kept in `dir`, made if there is none. One that is there is kept as it is, always: replacing it
 * would cut off every node.
 * @throws ConfigurationError when what is there is incomplete, damaged or expired
 */
export async function createCa(options: {
  readonly dir: string;
  readonly runner: CommandRunner;
}): Promise<CertificateAuthority> {
  const files = { certFile: path.join(options.dir, "ca.pem"), keyFile: path.join(options.dir, "ca.key") };
  const [cert, key] = await Promise.all([readIfThere(files.certFile), readIfThere(files.keyFile)]);
  if (cert === undefined && key === undefined) {
    await makeCa(options.dir, options.runner);
    return { ...files, certificate: new X509Certificate(await readFile(files.certFile)) };
  }
  if (cert === undefined || key === undefined)
    throw new ConfigurationError(
      `The certificate authority in ${options.dir} is incomplete: ${cert === undefined ? "ca.pem" : "ca.key"} is missing; restore it from a backup`,
    );
  return { ...files, certificate: checkCa(options.dir, cert, key) };
}

/** Both files appear at once, by the rename of their folder. */
async function makeCa(dir: string, runner: CommandRunner): Promise<void> {
  await inPrivateFolder(`${path.resolve(dir)}.new-`, async (folder) => {
    const config = path.join(folder, "openssl.cnf");
    const files = path.join(folder, "files");
    await writePrivate(
      config,
      configuration({
        subject: [
          ["OU", "authority"],
          ["CN", "Gannet cluster authority"],
        ],
        extensions: {
          basicConstraints: "critical, CA:TRUE, pathlen:0",
          keyUsage: "critical, keyCertSign, cRLSign",
          subjectKeyIdentifier: "hash",
        },
      }),
    );
    await mkdir(files, { mode: 0o700 });
    await openssl(runner, [
      ...["req", "-x509", "-config", config, "-extensions", "extensions", ...NEW_KEY, "-sha256"],
      ...["-days", String(VALID_DAYS), "-set_serial", randomSerial()],
      ...["-keyout", path.join(files, "ca.key"), "-out", path.join(files, "ca.pem")],
    ]);
    await seal(path.join(files, "ca.key"), 0o600);
    await seal(path.join(files, "ca.pem"), 0o644);
    await sync(files);
    await rename(files, dir);
    await sync(path.dirname(path.resolve(dir)));
  });
}

function checkCa(dir: string, cert: Buffer, key: Buffer): X509Certificate {
  const certificate = parse(dir, () => new X509Certificate(cert));
  const privateKey = parse(dir, () => createPrivateKey(key));
  if (!certificate.ca || !certificate.checkPrivateKey(privateKey))
    throw new ConfigurationError(
      `The certificate authority in ${dir} is damaged: its key and certificate do not match`,
    );
  if (certificate.validToDate.getTime() <= Date.now())
    throw new ConfigurationError(`The certificate authority in ${dir} expired on ${certificate.validTo}`);
  return certificate;
}

function parse<T>(dir: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new ConfigurationError(`The certificate authority in ${dir} is damaged: ${String(error)}`);
  }
}

async function readIfThere(file: string): Promise<Buffer | undefined> {
  return readFile(file).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
}
