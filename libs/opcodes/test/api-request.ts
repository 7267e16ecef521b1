/** Requests as tests write them: a method, a path with its query, a body. */
import { buildJobRequest, findResource, type JobRequest, type ResourceMethod, type WireOpcode } from "../src/index.ts";

export const TIME_NS = 1_795_293_830_398 * 1e6;

export interface RequestOptions {
  readonly rapiDefaults?: "2.5" | "3.1";
}

export function resourceMethod(method: string, path: string): ResourceMethod {
  const found = findResource(path.split("?")[0] ?? "")?.resource.methods;
  const answer = [...(found?.values() ?? [])].find((m) => m.method === method);
  if (answer === undefined) throw new Error(`${method} ${path} is no method of a resource`);
  return answer;
}

/** Build the job that a request asks for. */
export function submit(method: string, target: string, body?: unknown, options: RequestOptions = {}): JobRequest {
  const [path = "", query = ""] = target.split("?");
  const answer = resourceMethod(method, path);
  if (answer.kind !== "job") throw new Error(`${method} ${path} submits no job`);
  return buildJobRequest(
    answer,
    { pathParams: findResource(path)?.pathParams ?? {}, query: new URLSearchParams(query), body },
    { timeNs: TIME_NS, rapiDefaults: options.rapiDefaults ?? "3.1" },
  );
}

/** The only opcode of the job. */
export function submitOne(method: string, target: string, body?: unknown, options: RequestOptions = {}): WireOpcode {
  const { opcodes } = submit(method, target, body, options);
  const [only, ...more] = opcodes;
  if (only === undefined || more.length > 0) throw new Error(`${opcodes.length} opcodes`);
  return only;
}
