/**
 * Gannet's own way to submit an opcode with any of its parameters: `POST /2/opcodes/OP_INSTANCE_MOVE`. Ganeti has many
 * of them, and some parameters of the others, on its command line only. Each opcode that has a command has this route.
 */
import type { Access, JobRoute, OpcodeDeclaration } from "../define.ts";
import { post } from "../route.ts";

/** From the least to the most. */
const STRICTNESS: readonly Access[] = ["none", "read", "write"];

/**
 * The route of an opcode's own, which can say all its parameters; undefined for those without a command. It takes what
 * the resource takes that Ganeti has for the opcode.
 */
export function opcodeRoute({ id, cli, rapi }: Pick<OpcodeDeclaration, "id" | "cli" | "rapi">): JobRoute | undefined {
  const access = STRICTNESS.findLast((each) => rapi.some((route) => route.access === each)) ?? "write";
  return cli === null ? undefined : post(`/2/opcodes/${id}`, { handler: "opcodes", extension: true, access });
}

/** All routes that submit an opcode: those that Ganeti's clients know go first. */
export function routesOf(opcode: OpcodeDeclaration): readonly JobRoute[] {
  const own = opcodeRoute(opcode);
  return own === undefined ? opcode.rapi : [...opcode.rapi, own];
}
