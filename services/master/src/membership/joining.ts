/**
 * How nodes and masters join: a user makes a one-time token, the machine shows it with the request for a certificate, and
 * tells when its agent runs. The leader does all of it.
 */
import { createHash, randomBytes } from "node:crypto";
import type { ConfigStore, Fence, JoinToken, RedisJoinTokens } from "@gannet/config-store";
import { HttpError, OpPrereqError } from "@gannet/errors";
import type { JobId, JobLedger } from "@gannet/job-ledger";
import { type ConfigView, machineNames, type Node } from "@gannet/objects";
import {
  formatJoinToken,
  type JoinAnswer,
  type JoinBody,
  type JoinCompletion,
  type JoinTokenBody,
  NodeAdd,
  parseJoinToken,
  parseOpcode,
  summaryOf,
  wireOpcode,
} from "@gannet/opcodes";
import { fingerprintOf, type IssuedCertificate, requestedKey, signRequest } from "@gannet/pki";
import type { Logger } from "@gannet/telemetry";
import { machineToken, withoutMachineTokens } from "./machine-token.ts";
import type { NodeCertificates } from "./node-certificates.ts";

/** What a new master is given beside its certificates. It is in no log, and goes over verified TLS only. */
export interface MasterSecrets {
  readonly caKey: string;
  readonly domainSecret: string;
  readonly redisPassword: string | undefined;
  /** PEM of the authorities that Redis is known by; those of the cluster when empty. */
  readonly redisCa: string;
  /** The remote API's users file. */
  readonly users: string;
  /** Its address, as `parseRedisAddress` of @gannet/redis reads it. */
  readonly redis: string;
  readonly rapiPort: number;
}

export interface JoiningParts {
  readonly tokens: RedisJoinTokens;
  readonly certificates: NodeCertificates;
  readonly configStore: Pick<ConfigStore, "view" | "commit">;
  readonly ledger: Pick<JobLedger, "get">;
  readonly submit: JobLedger["submit"];
  readonly masterSecrets: () => Promise<MasterSecrets>;
  /** Seconds since 1970. */
  readonly now: () => number;
  readonly logger: Logger;
}

/** A token that was made, and its text, which is shown once. */
export interface MadeToken {
  readonly token: JoinToken;
  readonly text: string;
  readonly fingerprint: string;
}

const LIFETIME_S = 15 * 60;
const SECRET_BYTES = 32;
const ID_BYTES = 9;
const OVER: ReadonlySet<string> = new Set(["canceled", "error", "success"]);

/** The token was refused. Whoever shows it may not have it from us: he is told what is wrong, and nothing more. */
export class JoinRefused extends HttpError {
  constructor(reason: string) {
    super(403, `${reason}. Make a new token (gnt node add) and run its command on the machine that it names`);
  }
}

export class Joining {
  readonly #parts: JoiningParts;

  constructor(parts: JoiningParts) {
    this.#parts = parts;
  }

  /** @throws OpPrereqError when the node cannot join as it is wanted */
  async makeToken({ role, node_name, ...options }: JoinTokenBody, maker: string, fence: Fence): Promise<MadeToken> {
    const { tokens, certificates, configStore, masterSecrets, now, logger } = this.#parts;
    checkWanted(configStore.view, role, node_name, options.readd);
    if (role === "master") await masterSecrets();
    // Seen now rather than when the machine is there already.
    const fingerprint = fingerprintOf(certificates.authority.issuing.certificate);
    const id = randomBytes(ID_BYTES).toString("base64url");
    const secret = randomBytes(SECRET_BYTES).toString("base64url");
    const token = { id, role, nodeName: node_name, options, maker, expires: Math.floor(now()) + LIFETIME_S };
    await tokens.add(token, digestOf(secret), LIFETIME_S, fence);
    logger.info({ token: id, node: node_name, role, user: maker }, "a token for joining was made");
    return { token, fingerprint, text: formatJoinToken({ id, secret, fingerprint }) };
  }

  openTokens(): Promise<readonly JoinToken[]> {
    return this.#parts.tokens.open();
  }

  async revokeToken(id: string, fence: Fence): Promise<boolean> {
    const isRevoked = await this.#parts.tokens.revoke(id, fence);
    if (isRevoked) this.#parts.logger.info({ token: id }, "a token for joining was revoked");
    return isRevoked;
  }

  /** @throws JoinRefused; OpPrereqError when a request for a certificate cannot be used, which costs no token */
  async join(body: JoinBody, fence: Fence): Promise<{ readonly token: JoinToken; readonly answer: JoinAnswer }> {
    const { certificates, logger } = this.#parts;
    const shown = parseJoinToken(body.token);
    if (shown === undefined) throw this.#refused("This is no token for joining a cluster", body);
    for (const csr of [body.csr, body.rapi_csr, body.redis_csr]) if (csr != null) await requestedKey(csr);
    const taken = await this.#parts.tokens.take(shown.id, digestOf(shown.secret), body.node_name, fence);
    if (taken.outcome !== "taken") throw this.#refused(refusalOf(taken), body, shown.id);
    const { token } = taken;
    const answer =
      token.role === "node" ? await this.#joinNode(token, body) : await this.#joinMaster(token, body, fence);
    // What its agent has shown before does not count any more. A master's machine keeps its agent.
    if (token.role === "node") certificates.forget(token.nodeName);
    logger.info(
      { token: token.id, node: token.nodeName, role: token.role, maker: token.maker },
      "a machine has joined",
    );
    return { token, answer };
  }

  /** The agent of a node that has joined runs. The same job, however often it is told. @throws JoinRefused */
  async complete(text: string): Promise<JoinCompletion & { readonly token: JoinToken }> {
    const shown = parseJoinToken(text);
    const token = shown && (await this.#parts.tokens.taken(shown.id, digestOf(shown.secret)));
    if (token === undefined || token.role !== "node")
      throw this.#refused("No node has joined with this token within the last hour", {}, shown?.id);
    const { declaration, op } = parseOpcode({ OP_ID: NodeAdd.id, node_name: token.nodeName, ...token.options });
    const opcode = { input: wireOpcode(declaration, op), summary: summaryOf(declaration, op) };
    const key = { id: `join-${token.id}`, digest: token.id };
    const [job = 0] = await this.#parts.submit([{ requester: token.maker, opcodes: [opcode] }], key);
    return { token, job, ...(await this.#jobEnd(job)) };
  }

  async #jobEnd(id: JobId): Promise<Pick<JoinCompletion, "status" | "result">> {
    const job = await this.#parts.ledger.get(id);
    const status = job?.status ?? "success";
    return { status, result: OVER.has(status) ? (job?.opcodes[0]?.result ?? null) : null };
  }

  async #joinNode(token: JoinToken, body: JoinBody): Promise<JoinAnswer> {
    const { primary_ip } = token.options;
    const sans = typeof primary_ip === "string" ? [primary_ip] : [];
    const { certificate } = await this.#sign(body.csr, { name: token.nodeName, sans, usage: "node" });
    return { ...this.#common(token), certificate, master: null };
  }

  async #joinMaster(token: JoinToken, body: JoinBody, fence: Fence): Promise<JoinAnswer> {
    const { configStore, masterSecrets } = this.#parts;
    const view = configStore.view;
    const node = knownNode(view, token.nodeName);
    if (body.rapi_csr == null || body.redis_csr == null)
      throw new OpPrereqError("A master asks for certificates of its remote API and its Redis, too", "wrong_input");
    const secrets = await masterSecrets();
    const { name, primaryIp } = node;
    const here = machineNames(primaryIp);
    const issued = await Promise.all([
      this.#sign(body.csr, { name, sans: [], usage: "master" }),
      this.#sign(body.rapi_csr, { name, sans: [view.cluster.name, view.cluster.masterIp, ...here], usage: "rapi" }),
      this.#sign(body.redis_csr, { name, sans: here, usage: "redis" }),
    ]);
    const own = machineToken(name, token.maker, this.#parts.now());
    await configStore.commit(
      (newest) => [
        { kind: "node", put: withIssued(knownNode(newest, name), issued) },
        ...withoutMachineTokens(newest, name),
        { kind: "token", put: own.row },
      ],
      fence,
    );
    const [master, rapi, redis] = issued;
    return {
      ...this.#common(token),
      certificate: master.certificate,
      master: {
        ca_key: secrets.caKey,
        rapi_certificate: rapi.certificate,
        redis_certificate: redis.certificate,
        domain_secret: secrets.domainSecret,
        redis_password: secrets.redisPassword ?? null,
        redis_ca: secrets.redisCa || this.#common(token).ca,
        users: secrets.users,
        credentials: own.credentials,
        redis: secrets.redis,
        rapi_port: secrets.rapiPort,
        node_address: primaryIp,
      },
    };
  }

  #sign(csr: string, subject: Parameters<typeof signRequest>[2]): Promise<IssuedCertificate> {
    return signRequest(this.#parts.certificates.authority.issuing, csr, {
      ...subject,
      sans: subject.sans.filter((san) => san !== ""),
    });
  }

  #common({ role, nodeName }: JoinToken) {
    const { cluster } = this.#parts.configStore.view;
    return {
      role,
      cluster_name: cluster.name,
      node_name: nodeName,
      ca: this.#parts.certificates.identity.trusted(cluster).join(""),
      settings: {
        hypervisors: [...cluster.enabledHypervisors],
        file_storage_dirs: present(cluster.fileStorageDir),
        shared_file_storage_dirs: present(cluster.sharedFileStorageDir),
      },
    };
  }

  #refused(reason: string, { node_name: node }: Partial<JoinBody>, token?: string): JoinRefused {
    this.#parts.logger.warn({ node, token, reason }, "a token for joining was refused");
    return new JoinRefused(reason);
  }
}

function checkWanted(view: ConfigView, role: JoinToken["role"], name: string, readd: boolean): void {
  if (role === "master") {
    const node = knownNode(view, name);
    if (!node.masterCapable)
      throw new OpPrereqError(`Node ${name} is not master capable: set that first (gnt node modify)`, "wrong_state");
    return;
  }
  const present = [...view.nodes.values()].find((node) => node.name === name);
  if (present !== undefined && !readd)
    throw new OpPrereqError(`Node ${name} is in the cluster already; readd it if it was set up anew`, "already_exists");
  if (present === undefined && readd)
    throw new OpPrereqError(`Node ${name} is not in the cluster: it cannot be readded`, "unknown_entity");
}

function knownNode(view: ConfigView, name: string): Node {
  const node = [...view.nodes.values()].find((each) => each.name === name);
  if (node === undefined)
    throw new OpPrereqError(
      `Node ${name} is not in the cluster: it joins as a node before it is a master`,
      "unknown_entity",
    );
  return node;
}

function withIssued(node: Node, issued: readonly IssuedCertificate[]): Node {
  const added = issued.map(({ serial, notAfterMs }) => ({ serial, expires: Math.floor(notAfterMs / 1000) }));
  return { ...node, certificates: [...(node.certificates ?? []), ...added] };
}

type Refusal = Exclude<Awaited<ReturnType<RedisJoinTokens["take"]>>, { readonly outcome: "taken" }>;

function refusalOf(refusal: Refusal): string {
  switch (refusal.outcome) {
    case "other":
      return `This token is for ${refusal.nodeName}, not for this machine`;
    case "used":
      return "This token was used already";
    default:
      // Who guesses is not told that one of this name exists.
      return "This token is not known: it has expired, was revoked, or is of another cluster";
  }
}

function present(folder: string): string[] {
  return folder === "" ? [] : [folder];
}

function digestOf(secret: string): string {
  return createHash("sha256").update(secret).digest("base64url");
}
