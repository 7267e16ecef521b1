/**
 * Mutual TLS between master and agents, the only way they talk. Each side trusts the cluster's authority alone,
 * and looks at the role in the other's certificate: the organizational unit that libs/pki writes into it.
 */

import { X509Certificate } from "node:crypto";
import { checkServerIdentity, createSecureContext, type PeerCertificate, type SecureContextOptions } from "node:tls";
import {
  ChannelCredentials,
  ServerCredentials,
  ServerInterceptingCall,
  type ServerInterceptor,
  status,
} from "@grpc/grpc-js";
import { LiveIdentity, type TlsIdentity } from "./live-identity.ts";

const MASTER_ROLE = "master";
const NODE_ROLE = "node";
const TLS_VERSION = "TLSv1.3";

/**
 * grpc-js's own constructor of TLS server credentials has no way to set the lowest version. A changed identity counts
 * from the next connection on; those that are open go on.
 */
class MutualTlsServerCredentials extends ServerCredentials {
  constructor(live: LiveIdentity) {
    super({ requestCert: true, rejectUnauthorized: true, minVersion: TLS_VERSION }, contextOptions(live.identity));
    live.onChange(() => this.updateSecureContextOptions(contextOptions(live.identity)));
  }

  override _equals(other: ServerCredentials): boolean {
    return this === other;
  }
}

type SecureConnectorArguments = Parameters<ChannelCredentials["_createSecureConnector"]>;
type SecureConnector = ReturnType<ChannelCredentials["_createSecureConnector"]>;

/** grpc-js makes a connector once for a channel; this one looks at each connection which identity counts now. */
class MutualTlsChannelCredentials extends ChannelCredentials {
  readonly #current: () => ChannelCredentials;

  constructor(current: () => ChannelCredentials) {
    super();
    this.#current = current;
  }

  override compose(): ChannelCredentials {
    throw new Error("The master's calls carry no credentials of their own");
  }

  override _isSecure(): boolean {
    return true;
  }

  override _equals(other: ChannelCredentials): boolean {
    return this === other;
  }

  override _createSecureConnector(...args: SecureConnectorArguments): SecureConnector {
    const first = this.#current()._createSecureConnector(...args);
    return {
      connect: (socket) =>
        this.#current()
          ._createSecureConnector(...args)
          .connect(socket),
      waitForReady: () => first.waitForReady(),
      getCallCredentials: () => first.getCallCredentials(),
      destroy: () => first.destroy(),
    };
  }
}

function contextOptions({ ca, cert, key }: TlsIdentity): SecureContextOptions {
  return { ca, cert, key, minVersion: TLS_VERSION };
}

/** An agent's side: a client without a certificate of the cluster's authority does not get through the handshake. */
export function serverCredentials(live: LiveIdentity): ServerCredentials {
  return new MutualTlsServerCredentials(live);
}

/**
 * The master's side: it talks only to the agent whose certificate has the node's name and is not revoked.
 * @param onCertificate - told at each connection which certificate the agent has shown
 */
export function channelCredentials(
  identity: TlsIdentity | LiveIdentity,
  nodeName: string,
  onCertificate: (certificate: X509Certificate) => void = () => {},
): ChannelCredentials {
  const live = LiveIdentity.of(identity);
  let made: { readonly of: TlsIdentity; readonly credentials: ChannelCredentials } | undefined;
  const check = (_host: string, cert: PeerCertificate): Error | undefined => {
    const problem =
      checkServerIdentity(nodeName, cert) ?? checkRole(cert, NODE_ROLE) ?? checkNotRevoked(cert, live.revoked);
    if (problem === undefined) onCertificate(new X509Certificate(cert.raw));
    return problem;
  };
  return new MutualTlsChannelCredentials(() => {
    if (made?.of !== live.identity) {
      const context = createSecureContext(contextOptions(live.identity));
      const credentials = ChannelCredentials.createFromSecureContext(context, { checkServerIdentity: check });
      made = { of: live.identity, credentials };
    }
    return made.credentials;
  });
}

/** Refuses every call, of every service, whose client certificate is not the master's, or is revoked. */
export function masterOnly(live: LiveIdentity): ServerInterceptor {
  return (_method, call) =>
    new ServerInterceptingCall(call, {
      start: (next) =>
        next({
          onReceiveMetadata: (metadata, proceed) => {
            const refusal = refusalOf(call.getAuthContext().sslPeerCertificate, live);
            if (refusal === undefined) proceed(metadata);
            else call.sendStatus({ code: status.PERMISSION_DENIED, details: refusal.message });
          },
        }),
    });
}

function refusalOf(cert: PeerCertificate | undefined, { revoked, retired }: LiveIdentity): Error | undefined {
  if (retired !== undefined) return new Error(retired);
  if (cert === undefined) return new Error("The client has shown no certificate");
  return checkRole(cert, MASTER_ROLE) ?? checkNotRevoked(cert, revoked);
}

function checkNotRevoked(cert: PeerCertificate, revoked: ReadonlySet<string>): Error | undefined {
  if (!revoked.has(cert.serialNumber.toUpperCase())) return undefined;
  return new Error(`The certificate of ${cert.subject?.CN ?? "the other side"} is revoked`);
}

function checkRole(cert: PeerCertificate, role: string): Error | undefined {
  const units = [cert.subject?.OU ?? []].flat();
  if (units.length === 1 && units[0] === role) return undefined;
  return new Error(`The certificate of ${cert.subject?.CN ?? "the other side"} is not a ${role}'s`);
}
