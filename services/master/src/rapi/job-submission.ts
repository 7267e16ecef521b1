/** Resources that submit a job: from the request to the durable job's number. */
import type { OpcodeInput } from "@gannet/job-ledger";
import { type ApiRequest, buildJobRequest, findOpcode, type JobMethod, summaryOf } from "@gannet/opcodes";
import { jobAnswer } from "./answers.ts";
import type { Answer, Requester } from "./handlers.ts";
import type { RapiDeps } from "./rapi-deps.ts";
import { notAvailable } from "./refusals.ts";

type Parts = Pick<RapiDeps, "ledger" | "implemented" | "configStore" | "clock">;

/**
 * Submit what a request asks for.
 * @throws HttpError 400 and 403 for bad input, 501 for an opcode that nothing performs; what the ledger throws
 */
export async function submitJob(
  parts: Parts,
  method: JobMethod,
  request: ApiRequest,
  requester: Requester,
): Promise<Answer> {
  const { opcodes } = buildJobRequest(method, request, {
    timeNs: parts.clock() * 1_000_000,
    rapiDefaults: parts.configStore.view.cluster.rapiDefaults,
  });
  for (const { OP_ID: id } of opcodes) if (!parts.implemented.has(id)) throw notAvailable(id);
  const [job] = await parts.ledger.submit([{ opcodes: opcodes.map(withSummary), requester: requester.name }]);
  if (job === undefined) throw new Error("The ledger answered no job id");
  return jobAnswer(job);
}

function withSummary(input: OpcodeInput): { readonly input: OpcodeInput; readonly summary: string } {
  const declaration = findOpcode(input.OP_ID);
  return { input, summary: declaration === undefined ? input.OP_ID : summaryOf(declaration, input) };
}
