/**
 * The certificate of SPICE connections: the site's where there is one, as in Ganeti, whose cluster makes it; else one of
 * this node's own, made when a guest first asks for it. The node's certificate of the cluster is not used, although its
 * authority is at hand: with its key, a guest that has broken out of its qemu would be a node of the cluster.
 */
import { constants } from "node:fs";
import { access, rm } from "node:fs/promises";
import { hostname } from "node:os";
import path from "node:path";
import { HypervisorError } from "@gannet/errors";
import { certificateValidity, createSelfSignedCertificate, IDENTITY_FILES } from "@gannet/pki";
import type { Logger } from "@gannet/telemetry";
import type { SpiceCertificate } from "./launch-plan.ts";
import { makePrivateFolder } from "./private-folder.ts";

/** Ganeti's (`gnt-cluster renew-crypto --spice-certificate`): certificate and key in one file. */
export const SYSTEM_SPICE_CERTIFICATE: SpiceCertificate = {
  certFile: "/var/lib/ganeti/spice.pem",
  keyFile: "/var/lib/ganeti/spice.pem",
  caFile: "/var/lib/ganeti/spice-ca.pem",
};

/** As long as Ganeti's. */
const VALIDITY_SECONDS = 5 * 365 * 24 * 60 * 60;

export interface SpiceCertificatesParts {
  /** What the agent was told of; the system's place when undefined. */
  readonly configured: SpiceCertificate | undefined;
  readonly system?: SpiceCertificate;
  /** For what is made here: the driver's own. */
  readonly folder: string;
  readonly nodeName: string | undefined;
  readonly logger: Logger;
}

export class SpiceCertificates {
  readonly #parts: SpiceCertificatesParts;
  #making: Promise<SpiceCertificate> | undefined;

  constructor(parts: SpiceCertificatesParts) {
    this.#parts = parts;
  }

  /** @throws HypervisorError naming the file that is missing, and what to do */
  async find(): Promise<SpiceCertificate> {
    const { configured, system = SYSTEM_SPICE_CERTIFICATE } = this.#parts;
    const site = configured ?? system;
    const files = [...new Set(Object.values(site))];
    const missing = await Promise.all(files.map(async (file) => ((await isReadable(file)) ? [] : [file])));
    const [first] = missing.flat();
    if (first === undefined) return site;
    if (configured === undefined && missing.every((each) => each.length > 0)) return this.#own();
    throw new HypervisorError(
      `spice_use_tls: ${first} cannot be read; put the certificate of SPICE connections there` +
        (configured === undefined ? `, or remove ${files.join(" and ")}: the node then makes its own` : ""),
    );
  }

  /** One at a time: those who come meanwhile get the same. */
  #own(): Promise<SpiceCertificate> {
    this.#making ??= this.#make().finally(() => {
      this.#making = undefined;
    });
    return this.#making;
  }

  async #make(): Promise<SpiceCertificate> {
    const { folder, nodeName = hostname(), logger } = this.#parts;
    const [certFile, keyFile] = [IDENTITY_FILES.cert, IDENTITY_FILES.key].map((name) => path.join(folder, name));
    const own: SpiceCertificate = { certFile: certFile ?? "", keyFile: keyFile ?? "", caFile: certFile ?? "" };
    const { notAfterMs } = await certificateValidity(own.certFile);
    if (notAfterMs > Date.now() && (await isReadable(own.keyFile))) return own;
    await makePrivateFolder(path.dirname(folder));
    await rm(folder, { recursive: true, force: true });
    await createSelfSignedCertificate({ commonName: nodeName, validitySeconds: VALIDITY_SECONDS, dir: folder });
    logger.info({ certificate: own.certFile }, "a certificate of SPICE connections was made; clients are to trust it");
    return own;
  }
}

async function isReadable(file: string): Promise<boolean> {
  return access(file, constants.R_OK).then(
    () => true,
    () => false,
  );
}
