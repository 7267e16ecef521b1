/**
 * Mutual TLS between master and agents, the only way they talk. Each side trusts the cluster's authority alone,
 * and looks at the role in the other's certificate: the organizational unit that libs/pki writes into it.
 */

import { checkServerIdentity, createSecureContext, type PeerCertificate } from "node:tls";
import {
  ChannelCredentials,
  ServerCredentials,
  ServerInterceptingCall,
  type ServerInterceptor,
  status,
} from "@grpc/grpc-js";

/** PEM; what `loadIdentity` of @gannet/pki reads. */
export interface TlsIdentity {
  readonly ca: Buffer;
  readonly cert: Buffer;
  readonly key: Buffer;
}

const MASTER_ROLE = "master";
const NODE_ROLE = "node";
const TLS_VERSION = "TLSv1.3";

/** grpc-js's own constructor of TLS server credentials has no way to set the lowest version. */
class MutualTlsServerCredentials extends ServerCredentials {
  constructor(identity: TlsIdentity) {
    super(
      { requestCert: true, rejectUnauthorized: true, minVersion: TLS_VERSION },
      { ca: identity.ca, cert: identity.cert, key: identity.key, minVersion: TLS_VERSION },
    );
  }

  override _equals(other: ServerCredentials): boolean {
    return this === other;
  }
}

/** An agent's side: a client without a certificate of the cluster's authority does not get through the handshake. */
export function serverCredentials(identity: TlsIdentity): ServerCredentials {
  return new MutualTlsServerCredentials(identity);
}

/** The master's side: it talks only to the agent whose certificate has the node's name. */
export function channelCredentials(identity: TlsIdentity, nodeName: string): ChannelCredentials {
  const context = createSecureContext({
    ca: identity.ca,
    cert: identity.cert,
    key: identity.key,
    minVersion: TLS_VERSION,
  });
  return ChannelCredentials.createFromSecureContext(context, {
    checkServerIdentity: (_host, cert) => checkServerIdentity(nodeName, cert) ?? checkRole(cert, NODE_ROLE),
  });
}

/** Refuses every call, of every service, whose client certificate is not the master's. */
export const masterOnly: ServerInterceptor = (_method, call) =>
  new ServerInterceptingCall(call, {
    start: (next) =>
      next({
        onReceiveMetadata: (metadata, proceed) => {
          const refusal = refusalOf(call.getAuthContext().sslPeerCertificate);
          if (refusal === undefined) proceed(metadata);
          else call.sendStatus({ code: status.PERMISSION_DENIED, details: refusal.message });
        },
      }),
  });

function refusalOf(cert: PeerCertificate | undefined): Error | undefined {
  return cert === undefined ? new Error("The client has shown no certificate") : checkRole(cert, MASTER_ROLE);
}

function checkRole(cert: PeerCertificate, role: string): Error | undefined {
  const units = [cert.subject?.OU ?? []].flat();
  if (units.length === 1 && units[0] === role) return undefined;
  return new Error(`The certificate of ${cert.subject?.CN ?? "the other side"} is not a ${role}'s`);
}
