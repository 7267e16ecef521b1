/** Lists of objects of one kind: columns, filters and forms of output as Ganeti's tools have them. */
import { OpPrereqError } from "@gannet/errors";
import type { QueryResource } from "@gannet/opcodes";
import type { CommandSpec, GivenArguments, Workplace } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { controlFlag, controlText, JSON_OUTPUT } from "../options/common-options.ts";
import type { Gathered, OptionSpec } from "../options/option-spec.ts";
import { OTHER_VERBS } from "../options/spellings.ts";
import { isNumeric, UNITS, type Units, valueText } from "../output/cell-text.ts";
import { tableLines } from "../output/table.ts";

export interface ListDefinition {
  readonly words: string;
  readonly doc: string;
  readonly resource: QueryResource;
  /** The columns where none are asked for. */
  readonly fields: readonly string[];
  /** The field that arguments name objects by. */
  readonly nameField: string;
  /** Names are numbers. */
  readonly numeric?: true;
  /** Options that stand for a filter. */
  readonly selections?: Readonly<Record<string, readonly unknown[]>>;
}

const status = (...statuses: readonly string[]) => ["|", ...statuses.map((one) => ["=", "status", one])];

/** Ganeti's default columns, but where another is said to be more useful. */
export const LISTS: readonly ListDefinition[] = [
  {
    words: "instance list",
    doc: "List instances.",
    resource: "instance",
    fields: ["name", "hypervisor", "os", "pnode", "status", "oper_ram"],
    nameField: "name",
  },
  {
    words: "node list",
    doc: "List nodes.",
    resource: "node",
    fields: ["name", "dtotal", "dfree", "mtotal", "mnode", "mfree", "pinst_cnt", "sinst_cnt"],
    nameField: "name",
  },
  {
    words: "group list",
    doc: "List node groups.",
    resource: "group",
    fields: ["name", "node_cnt", "pinst_cnt", "alloc_policy", "ndparams"],
    nameField: "name",
  },
  {
    words: "network list",
    doc: "List networks.",
    resource: "network",
    fields: ["name", "network", "gateway", "mac_prefix", "group_list", "tags"],
    nameField: "name",
  },
  {
    words: "job list",
    doc: "List jobs that are not archived.",
    resource: "job",
    fields: ["id", "status", "summary"],
    nameField: "id",
    numeric: true,
    selections: {
      pending: status("queued", "waiting"),
      running: status("running", "canceling"),
      error: status("error"),
      finished: status("success", "error", "canceled"),
    },
  },
  {
    words: "os list",
    doc: "List operating systems, with their variants.",
    resource: "os",
    fields: ["name", "variants"],
    nameField: "name",
  },
  {
    words: "os diagnose",
    doc: "Tell of each operating system on which nodes it is, and what is wrong with it.",
    resource: "os",
    fields: ["name", "valid", "hidden", "blacklisted", "variants", "api_versions", "node_status"],
    nameField: "name",
  },
  { words: "backup list", doc: "List exports.", resource: "export", fields: ["node", "export"], nameField: "node" },
  {
    words: "storage list",
    doc: "List external storage providers.",
    resource: "extstorage",
    fields: ["name", "parameters"],
    nameField: "name",
  },
  {
    words: "storage diagnose",
    doc: "Tell of each external storage provider on which nodes it is, and what is wrong with it.",
    resource: "extstorage",
    fields: ["name", "node_status", "nodegroup_status", "parameters"],
    nameField: "name",
  },
  {
    words: "filter list",
    doc: "List job filters.",
    resource: "filter",
    fields: ["uuid", "watermark", "priority", "predicates", "action", "reason_trail"],
    nameField: "uuid",
  },
  {
    words: "debug locks",
    doc: "List locks: who holds them and who waits.",
    resource: "lock",
    fields: ["name", "mode", "owner", "pending"],
    nameField: "name",
  },
];

export function listCommand(list: ListDefinition): CommandSpec {
  const { words, doc, nameField, selections = {} } = list;
  return {
    words: words.split(" "),
    doc,
    ...(OTHER_VERBS[words] && { otherVerbs: OTHER_VERBS[words] }),
    shape: () => ({
      args: [{ name: "names", doc: `Only these, by ${nameField}, or one filter.`, required: false, variadic: true }],
      options: [
        controlText("-o, --output <fields>", "Columns; +field adds to the usual ones.", "output"),
        ...TABLE_OPTIONS,
        controlFlag("-F, --filter", "The argument is a filter, whatever it looks like.", "filter"),
        controlFlag("-v, --verbose", "Say in words what has no value.", "verbose"),
        ...Object.keys(selections).map((name) => controlFlag(`--${name}`, `Only those that are ${name}.`, name)),
      ],
    }),
    run: (workplace, args, gathered) => runList(workplace, list, args, gathered),
  };
}

export function listFieldsCommand(noun: string, resource: QueryResource): CommandSpec {
  return {
    words: [noun, "list-fields"],
    doc: "List the fields that lists can show and filter by.",
    shape: () => ({
      args: [{ name: "fields", doc: "Only these.", required: false, variadic: true }],
      options: TABLE_OPTIONS.filter(({ flags }) => !flags.includes("--units")),
    }),
    run: async ({ client, terminal }, [names = []], { control }) => {
      const wanted = typeof names === "string" ? [names] : names;
      const input = { resource, query: wanted.length === 0 ? {} : { fields: wanted } };
      const { fields } = await (await client()).get("/2/query/:resource/fields", input);
      if (control.json === true) terminal.out(JSON.stringify(fields, undefined, 2));
      else {
        const columns = ["Name", "Type", "Title", "Description"].map((title) => ({ title, isRight: false }));
        const rows = fields.map(({ name, kind, title, doc }) => [name, kind, title, doc]);
        for (const line of tableLines(columns, rows, layoutOf(control))) terminal.out(line);
      }
      return fields.some(({ kind }) => kind === "unknown") ? EXIT.unknownField : EXIT.done;
    },
  };
}

/** Of every list. */
export const TABLE_OPTIONS: readonly OptionSpec[] = [
  controlFlag("--no-headers", "Leave the titles out.", "noHeaders"),
  controlText("--separator <text>", "Between fields, instead of columns of one width.", "separator"),
  {
    ...controlText("--units <h|m|g|t>", "Sizes: h, each with a suitable unit; or all in MiB, GiB, TiB.", "units"),
    words: UNITS,
  },
  JSON_OUTPUT,
];

async function runList(
  { client, terminal }: Workplace,
  list: ListDefinition,
  [names = []]: GivenArguments,
  { control }: Gathered,
): Promise<number> {
  const fields = fieldsOf(list, control.output);
  const units = unitsOf(control);
  const qfilter = await filterOf(list, typeof names === "string" ? [names] : names, control);
  const answer = await (await client()).put("/2/query/:resource", {
    resource: list.resource,
    body: { fields: [...fields], qfilter: qfilter as unknown[] | null },
  });
  if (control.json === true) {
    const rows = answer.data.map((row) =>
      Object.fromEntries(row.map(([cellStatus, value], index) => [fields[index], cellStatus === 0 ? value : null])),
    );
    terminal.out(JSON.stringify(rows, undefined, 2));
  } else {
    const { STATUS_TEXT } = await import("@gannet/query");
    const how = control.verbose === true ? "verbose" : "short";
    const columns = answer.fields.map(({ title, kind }) => ({ title, isRight: isNumeric(kind) }));
    const rows = answer.data.map((row) =>
      row.map(([cellStatus, value], index) =>
        cellStatus === 0
          ? valueText(value, answer.fields[index]?.kind ?? "other", units)
          : STATUS_TEXT[cellStatus][how],
      ),
    );
    for (const line of tableLines(columns, rows, layoutOf(control))) terminal.out(line);
  }
  const unknown = answer.fields.filter(({ kind }) => kind === "unknown").map(({ name }) => name);
  if (unknown.length === 0) return EXIT.done;
  terminal.note(`There is no field ${unknown.join(", ")}: gnt ${list.words.split(" ")[0]} list-fields names them all`);
  return EXIT.unknownField;
}

function layoutOf(control: Gathered["control"]) {
  return {
    headers: control.noHeaders !== true,
    separator: typeof control.separator === "string" ? control.separator : undefined,
  };
}

/** Sizes for programs are plain MiB. */
function unitsOf({ units, separator }: Gathered["control"]): Units {
  if (units === undefined) return separator === undefined ? "h" : "m";
  const known = UNITS.find((one) => one === units);
  if (known === undefined) throw new OpPrereqError(`--units takes one of ${UNITS.join(", ")}`, "wrong_input");
  return known;
}

function fieldsOf({ fields }: ListDefinition, output: unknown): readonly string[] {
  if (typeof output !== "string") return fields;
  const names = output.split(",").map((name) => name.trim());
  const added = names.map((name) => name.replace(/^\+/, ""));
  if (added.includes("")) throw new OpPrereqError("-o takes names of fields, separated by commas", "wrong_input");
  return output.startsWith("+") ? [...fields, ...added] : added;
}

async function filterOf(
  { nameField, numeric, selections = {} }: ListDefinition,
  names: readonly string[],
  control: Gathered["control"],
): Promise<readonly unknown[] | null> {
  const selected = Object.keys(selections).flatMap((name) => (control[name] === true ? [selections[name] ?? []] : []));
  const { filterOfArguments } = await import("@gannet/query");
  const named = filterOfArguments(names, { nameField, ...(numeric && { numeric }), force: control.filter === true });
  if (selected.length === 0) return named;
  const either = selected.length === 1 ? (selected[0] ?? []) : ["|", ...selected];
  return named === null ? either : ["&", named, either];
}
