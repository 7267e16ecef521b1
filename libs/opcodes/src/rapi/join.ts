/** What nodes and masters say when they join the cluster, and are told: bodies and answers of `/2/join-tokens`, `/2/join`. */
import { z } from "zod";
import * as p from "../params.ts";

/** By this name joiners ask for a certificate of the cluster's authority, whichever one the remote API shows others. */
export const JOIN_SERVER_NAME = "join.gannet.internal";

/** A token as the one who joins gets it: which it is, its secret, and the SHA-256 of the authority to know the cluster by. */
export interface JoinTokenText {
  readonly id: string;
  readonly secret: string;
  readonly fingerprint: string;
}

const TOKEN = /^gannet-join\.([A-Za-z0-9_-]{12})\.([A-Za-z0-9_-]{43})\.([0-9a-f]{64})$/;

export function formatJoinToken({ id, secret, fingerprint }: JoinTokenText): string {
  return `gannet-join.${id}.${secret}.${fingerprint}`;
}

/** Undefined for what is no token. */
export function parseJoinToken(text: string): JoinTokenText | undefined {
  const [, id, secret, fingerprint] = TOKEN.exec(text.trim()) ?? [];
  return id === undefined || secret === undefined || fingerprint === undefined
    ? undefined
    : { id, secret, fingerprint };
}

const ROLES = ["node", "master"] as const;
/** A request for a certificate (PKCS #10, PEM) of an EC key is less than 1 KiB. */
const csr = z.string().max(16_384);
const tokenText = z.string().min(1).max(500);

/** As OP_NODE_ADD has them. */
const nodeOptions = {
  readd: p.flag("The node was a member before and keeps its place."),
  primary_ip: p.optional(p.ip, "Its address; absent: what its name resolves to."),
  secondary_ip: p.optional(p.ip, "Its address for replication; absent: the primary one."),
  group: p.optional(p.plainName, "Its node group; absent: the default one."),
  master_capable: p.optionalFlag("Whether it may become a master candidate."),
  vm_capable: p.optionalFlag("Whether it may run instances."),
  ndparams: p.ndparams,
  hv_state: p.hvState,
  disk_state: p.diskState,
};

export const joinTokenBody = z.strictObject({
  role: p.withDefault(
    z.enum(ROLES),
    "node",
    "`node`: a new node joins; `master`: a node of the cluster becomes a master's machine, too.",
  ),
  node_name: p.required(p.hostName, "Name of the node."),
  ...nodeOptions,
});
export type JoinTokenBody = z.output<typeof joinTokenBody>;

const openToken = {
  id: z.string(),
  role: z.enum(ROLES),
  node_name: z.string(),
  maker: z.string().meta({ description: "The user who has made it." }),
  expires: z.number().meta({ description: "Seconds since 1970." }),
};
export const joinTokens = z.array(z.object(openToken));
export const newJoinTokenAnswer = z.object({
  ...openToken,
  token: z.string().meta({ description: "To be shown once, on the machine that joins." }),
  ca_fingerprint: z.string().meta({ description: "SHA-256 of the cluster's authority; the token holds it, too." }),
  command: z.string().meta({ description: "What to run there, `URL` being this cluster's." }),
});

export const joinBody = z.strictObject({
  token: p.required(tokenText, "As it was given."),
  node_name: p.required(p.hostName, "What the machine calls itself: the whole name, or its first label."),
  csr: p.required(csr, "For the agent's certificate, or the master's; PKCS #10, PEM. Names in it do not count."),
  rapi_csr: p.optional(csr, "For the remote API's certificate; of masters."),
  redis_csr: p.optional(csr, "For Redis' certificate; of masters."),
});
export type JoinBody = z.output<typeof joinBody>;

/** What a master has that nodes have not. It goes over verified TLS only, and into no log. */
const masterParts = z.object({
  ca_key: z.string(),
  rapi_certificate: z.string(),
  redis_certificate: z.string(),
  domain_secret: z.string(),
  redis_password: z.string().nullable(),
  redis_ca: z
    .string()
    .meta({ description: "PEM of all authorities that the masters' Redis servers have certificates of." }),
  users: z.string().meta({ description: "The remote API's users file." }),
  credentials: z.string().meta({
    description:
      "A user and a password for root on that machine: an API token of the user who has made the join token.",
  }),
  redis: z.string().meta({ description: "Where Redis is: the sentinels of the masters that there are." }),
  rapi_port: z.int(),
  node_address: z.string().meta({ description: "The primary address of the node that becomes a master's." }),
});

export const joinAnswer = z.object({
  role: z.enum(ROLES),
  cluster_name: z.string(),
  node_name: z.string(),
  ca: z.string().meta({ description: "PEM of all authorities that the cluster trusts." }),
  certificate: z.string(),
  settings: z
    .object({
      hypervisors: z.array(z.string()),
      file_storage_dirs: z.array(z.string()),
      shared_file_storage_dirs: z.array(z.string()),
    })
    .meta({ description: "What the agent's configuration is to have." }),
  master: masterParts.nullable(),
});
export type JoinAnswer = z.output<typeof joinAnswer>;

export const joinCompletionBody = z.strictObject({
  token: p.required(tokenText, "The one with which the node has joined."),
});
export type JoinCompletionBody = z.output<typeof joinCompletionBody>;

export const joinCompletionAnswer = z.object({
  job: z.int().meta({ description: "The job with OP_NODE_ADD; the same however often it is asked for." }),
  status: z.string(),
  result: z.unknown().meta({ description: "Of the job, once it is over." }),
});
export type JoinCompletion = z.output<typeof joinCompletionAnswer>;
