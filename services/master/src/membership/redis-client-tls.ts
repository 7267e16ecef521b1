/** What this master shows to Redis and its sentinels, and whom it trusts there: its files, as they are at each connection. */
import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { fitsKey } from "@gannet/pki";
import type { RedisTls } from "@gannet/redis";
import type { MasterConfiguration } from "../configuration.ts";

type TlsFiles = Pick<MasterConfiguration, "redisCaFile" | "redisCertificateFile" | "redisKeyFile">;

/**
 * Connections are few, and cannot wait for a promise while they are made, so the files are read at once. What cannot be
 * used, half of a new pair, is left aside for the former.
 */
export function redisClientTls({ redisCaFile, redisCertificateFile, redisKeyFile }: TlsFiles): () => RedisTls {
  let inUse: RedisTls = {};
  return () => {
    try {
      const [ca, cert, key] = [redisCaFile, redisCertificateFile, redisKeyFile].map((file) =>
        file === undefined ? undefined : readFileSync(file, "utf8"),
      );
      const certificate = cert === undefined || key === undefined ? undefined : { cert, key };
      if (certificate !== undefined && !fitsKey(new X509Certificate(certificate.cert), certificate.key)) return inUse;
      inUse = { ...(ca === undefined ? {} : { ca }), ...(certificate === undefined ? {} : { certificate }) };
    } catch {
      // A file that is not there, or is no PEM: as above.
    }
    return inUse;
  };
}
