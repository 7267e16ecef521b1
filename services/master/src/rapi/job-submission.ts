/** Resources that submit a job: from the request to the durable job's number. */
import { HttpError } from "@gannet/errors";
import { type OpcodeInput, type SubmissionKey, SubmissionKeyReused } from "@gannet/job-ledger";
import {
  type ApiRequest,
  buildJobRequest,
  findOpcode,
  type JobMethod,
  kindOfOpcode,
  type OpcodeDeclaration,
  rootParametersOf,
  summaryOf,
  type WireOpcode,
} from "@gannet/opcodes";
import { jobAnswer } from "./answers.ts";
import type { Answer, Requester } from "./handlers.ts";
import type { RapiDeps } from "./rapi-deps.ts";
import { forbidden, notAvailable } from "./refusals.ts";
import { lackOfRight, mayBeRoot, type RootParameters } from "./rights.ts";

/** What users may have the nodes do as root. */
export interface RootPolicy {
  /** Option of the users who may set parameters that let a node run any program. */
  readonly rootParameters: RootParameters;
  /** Folders of the nodes in which kernels and images of guests may lie, for everybody who may write. */
  readonly fileRoots: readonly string[];
}

type Parts = Pick<RapiDeps, "submit" | "implemented" | "unavailable" | "configStore" | "clock"> & RootPolicy;

/** Who submits, and what makes a repeated submission the same one. */
export interface Submitter {
  readonly requester: Requester;
  readonly key: SubmissionKey | undefined;
}

/**
 * Submit what a request asks for; or, when it was submitted before with the same key, answer that job.
 * @throws HttpError 400 and 403 for bad input, 403 for parameters that take more rights, 422 for a key that another
 *   request had, 501 for an opcode that nothing performs; what the ledger throws
 */
export async function submitJob(
  parts: Parts,
  method: JobMethod,
  request: ApiRequest,
  { requester, key }: Submitter,
): Promise<Answer> {
  const { opcodes } = buildJobRequest(method, request, {
    timeNs: parts.clock() * 1_000_000,
    rapiDefaults: parts.configStore.view.cluster.rapiDefaults,
  });
  for (const opcode of opcodes) {
    if (!parts.implemented.has(opcode.OP_ID)) throw notAvailable(opcode.OP_ID);
    const lacking = parts.unavailable?.(opcode);
    if (lacking !== undefined) throw notAvailable(`${opcode.OP_ID} with ${lacking}`);
  }
  for (const opcode of opcodes) {
    const lack = lackOfRight(requester, method, kindOfOpcode(declared(opcode), opcode));
    if (lack !== undefined) throw lack;
  }
  refuseRoot(parts, opcodes, requester);
  const job = { opcodes: opcodes.map(withSummary), requester: requester.name };
  const [id] = await parts.submit([job], key).catch(refuseReusedKey);
  if (id === undefined) throw new Error("The ledger answered no job id");
  return { ...jobAnswer(id), opcodes: opcodes.map(({ OP_ID }) => OP_ID) };
}

/** @throws HttpError 403 where an opcode takes the right of root, or a parameter of it does, and the requester has it not */
export function refuseRoot(policy: RootPolicy, opcodes: readonly WireOpcode[], requester: Requester): void {
  if (mayBeRoot(requester, policy.rootParameters)) return;
  const right = requester.token?.root === false ? "an API token with root" : `the option ${policy.rootParameters}`;
  const grave = opcodes.find((opcode) => declared(opcode).needsRoot);
  if (grave !== undefined)
    throw forbidden(`${grave.OP_ID}: the whole cluster may be lost by this, which takes ${right}`);
  const parameters = opcodes.flatMap((opcode) => rootParametersOf(opcode, policy.fileRoots));
  if (parameters.length === 0) return;
  throw forbidden(
    `${parameters.join(", ")}: by this a node can be made to run any program, or give away any file, which takes ${right}`,
  );
}

function refuseReusedKey(error: unknown): never {
  if (!(error instanceof SubmissionKeyReused)) throw error;
  throw new HttpError(422, "This Idempotency-Key came with another request before; use a new one", { cause: error });
}

function withSummary(input: WireOpcode): { readonly input: OpcodeInput; readonly summary: string } {
  return { input, summary: summaryOf(declared(input), input) };
}

/** What a request was made into has been checked against its declaration. */
function declared({ OP_ID: id }: WireOpcode): OpcodeDeclaration {
  const declaration = findOpcode(id);
  if (declaration === undefined) throw new Error(`${id} is not declared`);
  return declaration;
}
