/**
 * Gannet's own way to submit an opcode with any of its parameters: `POST /2/opcodes/OP_INSTANCE_MOVE`. Ganeti has many
 * of them, and some parameters of the others, on its command line only. Each opcode that has a command has this route.
 */
import type { JobRoute, OpcodeDeclaration } from "../define.ts";
import { post } from "../route.ts";

/** The route of an opcode's own, which can say all its parameters; undefined for those without a command. */
export function opcodeRoute({ id, cli }: Pick<OpcodeDeclaration, "id" | "cli">): JobRoute | undefined {
  return cli === null ? undefined : post(`/2/opcodes/${id}`, { handler: "opcodes", extension: true });
}

/** All routes that submit an opcode: those that Ganeti's clients know go first. */
export function routesOf(opcode: OpcodeDeclaration): readonly JobRoute[] {
  const own = opcodeRoute(opcode);
  return own === undefined ? opcode.rapi : [...opcode.rapi, own];
}
