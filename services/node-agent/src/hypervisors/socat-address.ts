/** Addresses as socat(1) reads them. */
import path from "node:path";
import { IDENTITY_FILES } from "@gannet/pki";

/** What this node shows other nodes, and trusts of them. */
export interface NodeIdentity {
  /** As in its certificate. */
  readonly nodeName: string;
  /** Holds ca.pem, cert.pem and key.pem (libs/pki). */
  readonly pkiDir: string;
}

/** Both ends show a certificate of the cluster's authority, and each must be the node that it is taken for. */
export function socatTls({ pkiDir }: NodeIdentity, peerName: string): readonly string[] {
  return [
    `cert=${socatText(path.join(pkiDir, IDENTITY_FILES.cert))}`,
    `key=${socatText(path.join(pkiDir, IDENTITY_FILES.key))}`,
    `cafile=${socatText(path.join(pkiDir, IDENTITY_FILES.ca))}`,
    "verify=1",
    `commonname=${socatText(peerName)}`,
    "openssl-min-proto-version=TLS1.2",
  ];
}

/** Characters that separate parts of an address are escaped by a backslash (socat(1), "Address specifications"). */
export function socatText(text: string): string {
  return text.replaceAll(/[\\:,!"'{}()[\]]/g, "\\$&");
}
