/** `/2/master`: who leads, who stands by, and the planned change of the leader. */
import type { MasterFailoverBody } from "@gannet/opcodes";
import { jsonAnswer } from "../answers.ts";
import type { DirectContext } from "../direct-context.ts";
import type { Handlers } from "../handlers.ts";

export function masterHandlers({ masters }: DirectContext): Handlers {
  return {
    masters: async () => {
      const { leader, masters: known } = await masters.survey();
      return jsonAnswer({
        leader: leader?.name ?? null,
        epoch: leader?.epoch ?? null,
        masters: known.map(({ name, isLeader, address, version, serial, behind, silentMs, health }) => ({
          ...{ name, role: isLeader ? "leader" : "standby", address, version },
          ...{ configuration_serial: serial, behind, silent: silentMs / 1000, health },
        })),
      });
    },
    failOverMaster: async ({ body }) => {
      const { node, timeout } = body as MasterFailoverBody;
      const epoch = await masters.failOver({ successor: node, graceMs: timeout * 1000 });
      return jsonAnswer({ leader: node, epoch });
    },
  };
}
