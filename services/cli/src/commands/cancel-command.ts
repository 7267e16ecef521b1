/** `gnt job cancel --pending` (gnt-job(8)): all jobs in a status, beside those that are named. */
import { OpPrereqError } from "@gannet/errors";
import type { CommandSpec } from "../command.ts";
import { confirm } from "../confirmation.ts";
import { EXIT } from "../exit-codes.ts";
import { controlFlag, YES } from "../options/common-options.ts";

const SELECTIONS: Readonly<Record<string, readonly string[]>> = {
  pending: ["queued", "waiting"],
  queued: ["queued"],
  waiting: ["waiting"],
};

/** @param one - cancels the jobs that it names */
export function cancelCommand(one: CommandSpec): CommandSpec {
  return {
    ...one,
    shape: () => {
      const { args, options } = one.shape();
      const selections = Object.keys(SELECTIONS).map((name) =>
        controlFlag(`--${name}`, `All that are ${SELECTIONS[name]?.join(" or ")}.`, name),
      );
      return {
        args: args.map((arg) => ({ ...arg, required: false })),
        options: [...selections, YES, { ...YES, flags: "-f, --force" }, ...options],
      };
    },
    run: async (workplace, [given = []], gathered) => {
      const selected = Object.keys(SELECTIONS).filter((name) => gathered.control[name] === true);
      if (selected.length > 1 || (selected.length === 1) === given.length > 0)
        throw new OpPrereqError("Name the jobs, or give one of --pending, --queued, --waiting", "wrong_input");
      if (selected.length === 0) return await one.run(workplace, [given], gathered);
      const statuses = SELECTIONS[selected[0] ?? ""] ?? [];
      const { data } = await (await workplace.client()).put("/2/query/:resource", {
        resource: "job",
        body: { fields: ["id"], qfilter: ["|", ...statuses.map((status) => ["=", "status", status])] },
      });
      const ids = data.flatMap(([id]) => (id === undefined ? [] : [String(id[1])]));
      if (ids.length === 0) {
        workplace.terminal.note(`No job is ${statuses.join(" or ")}`);
        return EXIT.done;
      }
      await confirm("job cancel --pending", ids, gathered, workplace.terminal);
      return await one.run(workplace, [ids], gathered);
    },
  };
}
