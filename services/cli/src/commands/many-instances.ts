/** Commands that Ganeti's tools do to several instances at once, and the options that say to which. */
import { OpPrereqError } from "@gannet/errors";
import type { Workplace } from "../command.ts";
import { controlFlag, controlText } from "../options/common-options.ts";
import type { OptionSpec } from "../options/option-spec.ts";

const FOR_MANY: ReadonlySet<string> = new Set([
  "instance reboot",
  "instance reinstall",
  "instance shutdown",
  "instance startup",
]);

/** @param command `instance startup` */
export function isForMany(command: string): boolean {
  return FOR_MANY.has(command);
}

/** Which instances an option means, as a filter on their fields. */
const SELECTIONS: Readonly<Record<string, (value: string) => readonly unknown[]>> = {
  node: (node) => ["|", ["=", "pnode", node], ["=[]", "snodes", node]],
  primary: (node) => ["=", "pnode", node],
  secondary: (node) => ["=[]", "snodes", node],
  tags: (tags) => ["|", ...tags.split(",").map((tag) => ["=[]", "tags", tag])],
};

export function manyOptions(command: string): readonly OptionSpec[] {
  const verb = command.split(" ")[1];
  return [
    controlFlag("--all", `Every instance that there is to ${verb}.`, "all"),
    controlText("--node <node>", "Those that have this node as primary or secondary.", "node"),
    controlText("--primary <node>", "Those that run on this node.", "primary"),
    controlText("--secondary <node>", "Those that have a copy on this node.", "secondary"),
    controlText("--tags <a,b,...>", "Those with one of these tags.", "tags"),
  ];
}

/**
 * The instances that a command line means.
 * @throws OpPrereqError wrong_input where it names none, or in two ways
 */
export async function namesMeant(
  { client }: Workplace,
  given: readonly string[],
  control: Readonly<Record<string, unknown>>,
): Promise<readonly string[]> {
  const selections = Object.keys(SELECTIONS).filter((name) => control[name] !== undefined);
  const ways = Number(given.length > 0) + Number(control.all === true) + selections.length;
  if (ways !== 1)
    throw new OpPrereqError(
      "Name the instances, or give one of --all, --node, --primary, --secondary, --tags",
      "wrong_input",
    );
  if (given.length > 0) return [...new Set(given)];
  const [selection = ""] = selections;
  const qfilter = control.all === true ? null : SELECTIONS[selection]?.(String(control[selection]));
  const { data } = await (await client()).put("/2/query/:resource", {
    resource: "instance",
    body: { fields: ["name"], qfilter: (qfilter ?? null) as unknown[] | null },
  });
  const names = data.flatMap(([name]) => (name === undefined ? [] : [String(name[1])]));
  if (names.length === 0) throw new OpPrereqError("No instance is as you say", "wrong_input");
  return names;
}
