/** The certificates of the cluster's nodes as the leader keeps them: seen, remembered, renewed, revoked. */
import { X509Certificate } from "node:crypto";
import type { ConfigChange } from "@gannet/config-store";
import type { Cluster, ConfigView, Node } from "@gannet/objects";
import { endsSoon, fingerprintOf, namesOf, revocationList, signRequest } from "@gannet/pki";
import type { NodeClient } from "@gannet/rpc";
import type { MasterState } from "../leadership/masters.ts";
import type { ClusterAuthority } from "./cluster-authority.ts";
import type { MasterIdentity } from "./master-identity.ts";

type RememberedCertificate = NonNullable<Node["certificates"]>[number];

/** A call to an agent: the leader's proof, and what ends the call. */
export interface LeadersCall {
  readonly epoch: number;
  readonly signal: AbortSignal;
}

/** A master, and what is shown and trusted on its machine, as far as it has told. */
export type MasterOnItsWay = Pick<MasterState, "name" | "health" | "certificates">;

export class NodeCertificates {
  readonly authority: ClusterAuthority;
  readonly identity: MasterIdentity;
  /** All that have been heard of within a day; undefined where there is one master, whose own this is. */
  readonly masters: (() => Promise<readonly MasterOnItsWay[]>) | undefined;
  /** By the names of nodes: what each agent has shown last. */
  readonly #seen = new Map<string, X509Certificate>();
  #signed: { readonly mark: string; readonly list: Promise<string> } | undefined;

  constructor(parts: {
    readonly authority: ClusterAuthority;
    readonly identity: MasterIdentity;
    readonly masters?: () => Promise<readonly MasterOnItsWay[]>;
  }) {
    this.authority = parts.authority;
    this.identity = parts.identity;
    this.masters = parts.masters;
  }

  /** An agent has shown its certificate in a connection that was accepted. */
  saw(nodeName: string, certificate: X509Certificate): void {
    this.#seen.set(nodeName, certificate);
  }

  /** What the node's agent has shown last to this process; undefined before its first connection. */
  seen(nodeName: string): X509Certificate | undefined {
    return this.#seen.get(nodeName);
  }

  forget(nodeName: string): void {
    this.#seen.delete(nodeName);
  }

  /** The node's row with the certificate that its agent has shown; undefined when there is nothing new in it. */
  remembered(node: Node): Node | undefined {
    const certificate = this.#seen.get(node.name);
    const known = node.certificates ?? [];
    if (certificate === undefined || known.some(({ serial }) => serial === certificate.serialNumber)) return undefined;
    return { ...node, certificates: [...unexpired(known), rememberedOf(certificate)] };
  }

  /** Whether the node is to have a new certificate: its own ends soon, or is of an authority that is on its way out. */
  isDue(nodeName: string): boolean {
    const certificate = this.#seen.get(nodeName);
    if (certificate === undefined || !this.authority.isHere) return false;
    const ca = this.authority.issuing;
    return endsSoon(certificate, ca) || !certificate.verify(ca.certificate.publicKey);
  }

  /** Tell an agent whom to trust. */
  async tellTrust(agent: NodeClient, cluster: Cluster, { epoch, signal }: LeadersCall): Promise<void> {
    const revoked = (cluster.revokedCertificates ?? []).map(({ serial }) => serial);
    const authorities = [...this.identity.trusted(cluster)];
    const list = await this.#revocationList(revoked);
    await agent.node.setTrust({ epoch, authorities, revoked, revocationList: list }, { signal });
  }

  /**
   * Give a node a new certificate for a new key of its own.
   * @throws OpPrereqError where this master cannot issue; what the agent throws
   */
  async renew(agent: NodeClient, node: Node, { epoch, signal }: LeadersCall): Promise<RememberedCertificate> {
    const ca = this.authority.issuing;
    const { csr } = await agent.node.requestCertificate({ epoch }, { signal });
    const { certificate } = await signRequest(ca, csr, { name: node.name, sans: this.#sansOf(node), usage: "node" });
    await agent.node.installCertificate({ epoch, certificate }, { signal });
    const issued = new X509Certificate(certificate);
    this.saw(node.name, issued);
    return rememberedOf(issued);
  }

  /** SHA-256 of the first of these authorities. */
  newestOf([newest = ""]: readonly string[]): string {
    return fingerprintOf(new X509Certificate(newest));
  }

  /** What decides whether an agent knows the present trust. */
  trustMark(cluster: Cluster): string {
    const authorities = this.identity.trusted(cluster).map((pem) => fingerprintOf(new X509Certificate(pem)));
    return [...authorities, "", ...(cluster.revokedCertificates ?? []).map(({ serial }) => serial)].join(" ");
  }

  /** All nodes are told the same one. */
  #revocationList(revoked: readonly string[]): Promise<string> {
    if (revoked.length === 0 || !this.authority.isHere) return Promise.resolve("");
    const ca = this.authority.issuing;
    const mark = [fingerprintOf(ca.certificate), ...revoked].join(" ");
    if (this.#signed?.mark !== mark) this.#signed = { mark, list: revocationList(ca, revoked) };
    return this.#signed.list;
  }

  #sansOf({ name, primaryIp }: Node): readonly string[] {
    const present = this.#seen.get(name);
    return [...new Set([primaryIp, ...(present === undefined ? [] : namesOf(present))])].filter(
      (each) => each !== name,
    );
  }
}

export function rememberedOf({ serialNumber: serial, validToDate }: X509Certificate): RememberedCertificate {
  return { serial, expires: Math.floor(validToDate.getTime() / 1000) };
}

/** The cluster's row with the certificates of a node that is removed among the revoked ones. */
export function withRevoked(cluster: Cluster, node: Node): Cluster {
  const gone = (node.certificates ?? []).map((certificate) => ({ ...certificate, name: node.name }));
  return { ...cluster, revokedCertificates: unexpired([...(cluster.revokedCertificates ?? []), ...gone]) };
}

/**
 * A node joins, or comes back: its row with the certificate that its agent has shown. Those that it had before are
 * revoked where it has a new one: the machine was set up anew.
 */
export function joiningChanges(
  certificates: NodeCertificates | undefined,
  view: ConfigView,
  node: Node,
): readonly ConfigChange[] {
  const shown = certificates?.seen(node.name);
  const known = node.certificates ?? [];
  if (shown === undefined || known.some(({ serial }) => serial === shown.serialNumber))
    return [{ kind: "node", put: node }];
  const put = { ...node, certificates: [rememberedOf(shown)] };
  const revocation: readonly ConfigChange[] =
    known.length === 0 ? [] : [{ kind: "cluster", put: withRevoked(view.cluster, node) }];
  return [{ kind: "node", put }, ...revocation];
}

/** Changes of the configuration that remember what the agents of these nodes have shown. */
export function rememberChanges(
  certificates: NodeCertificates,
  view: ConfigView,
  nodes: Iterable<Node>,
): readonly ConfigChange[] {
  return [...nodes].flatMap(({ uuid }): readonly ConfigChange[] => {
    const node = view.nodes.get(uuid);
    const put = node === undefined ? undefined : certificates.remembered(node);
    return put === undefined ? [] : [{ kind: "node", put }];
  });
}

function unexpired<T extends RememberedCertificate>(certificates: readonly T[]): T[] {
  return certificates.filter(({ expires }) => expires * 1000 > Date.now());
}
