/** Every opcode and every direct method that names a command has it, with all its parameters. */
import {
  type CliCommand,
  exampleOf,
  findResource,
  type JsonSchema,
  jsonSchemaOf,
  OPCODES,
  type OpcodeDeclaration,
  RESOURCES,
} from "@gannet/opcodes";
import { describe, expect, test } from "vitest";
import { commandTree } from "../src/command-tree.ts";
import { requestsOf } from "../src/commands/direct-command.ts";
import { isForMany } from "../src/commands/many-instances.ts";
import { paramsOf } from "../src/commands/opcode-command.ts";
import { BELOW, NOUNS } from "../src/nouns.ts";
import { longName } from "../src/options/derived-options.ts";
import { COMMAND_DEFAULTS, OTHER_VERBS, spelledParameters, spellingOf } from "../src/options/spellings.ts";
import { type ValueKind, valueKindOf } from "../src/options/value-kind.ts";
import { parsed } from "./parsed.ts";

const COMMANDS = commandTree();
const named = (words: string) => COMMANDS.find((spec) => spec.words.join(" ") === words);

/** Opcodes whose command asks at once what the opcode would make a job of. */
const WITHOUT_JOB = new Set([
  "OP_CLUSTER_QUERY",
  "OP_EXT_STORAGE_DIAGNOSE",
  "OP_INSTANCE_CONSOLE",
  "OP_OS_DIAGNOSE",
  "OP_TAGS_DEL",
  "OP_TAGS_GET",
  "OP_TAGS_SEARCH",
  "OP_TAGS_SET",
]);
const DIRECT = RESOURCES.flatMap(({ methods }) => [...methods.values()]).flatMap((method) =>
  method.kind === "direct" ? (method.cli ?? []).map((cli) => ({ method, cli, name: cli.words })) : [],
);
const TAKEN = new Set(DIRECT.map(({ name }) => name));
const SUBMITTED = [...OPCODES.values()].flatMap((opcode) =>
  opcode.cli === null || WITHOUT_JOB.has(opcode.id) || TAKEN.has(opcode.cli.words)
    ? []
    : [{ opcode, cli: opcode.cli, name: opcode.cli.words }],
);

/** Parameters that the checks of a whole opcode ask for beyond what its schema says is required. */
const ALSO: Readonly<Record<string, readonly string[]>> = {
  "instance add": ["-s", "10g"],
  "instance replace-disks": ["-p"],
  "node modify-storage": ["--allocatable", "yes"],
};

function exampleText(kind: ValueKind, value: unknown): string {
  if (kind.kind === "list") return (value as readonly unknown[]).join(",");
  if (kind.kind === "json" || kind.kind === "settings") return JSON.stringify(value);
  return kind.kind === "flag" ? (value === true ? "yes" : "no") : String(value);
}

/** Values of texts whose form the schema cannot say by example. */
const FORMS: readonly (readonly [param: RegExp, value: unknown])[] = [
  [/_ip$|^gateway$/, "192.0.2.1"],
  [/^gateway6$/, "2001:db8::1"],
  [/^network6$/, "2001:db8::/64"],
  [/reserved_ips$/, ["192.0.2.7"]],
  [/^mac_prefix$/, "aa:00:01"],
];

/** A value that is not what absence means. */
function exampleFor(name: string, schema: JsonSchema, kind: ValueKind): unknown {
  const form = FORMS.find(([pattern]) => pattern.test(name));
  if (form !== undefined) return form[1];
  if (kind.kind === "number") return 1;
  if (kind.kind === "list" && kind.item.kind === "number") return [0, 2];
  if (kind.kind === "flag") return kind.unset !== true;
  if (name === "instances" && kind.kind === "json")
    return [{ instance_name: "web1", mode: "create", disks: [], nics: [] }];
  const inner = Array.isArray(schema.anyOf) ? ((schema.anyOf as JsonSchema[])[0] ?? schema) : schema;
  const example = exampleOf(inner, {}, name);
  return Array.isArray(example) && example.length === 0 && kind.kind === "list"
    ? [exampleOf((inner.items ?? {}) as JsonSchema, {}, name)]
    : example;
}

function requiredArgv(opcode: OpcodeDeclaration, cli: CliCommand): readonly string[] {
  const { properties = {}, required = [] } = jsonSchemaOf(opcode);
  const schemas = properties as Readonly<Record<string, JsonSchema>>;
  const text = (name: string) => {
    const kind = valueKindOf(schemas[name] ?? {});
    const value = exampleFor(name, schemas[name] ?? {}, kind);
    return kind.kind === "list" ? String((value as unknown[])[0]) : exampleText(kind, value);
  };
  const args = cli.args.map(text);
  const preset = { ...COMMAND_DEFAULTS[cli.words], ...cli.fixed };
  const options = required
    .filter((name) => !cli.args.includes(name) && !Object.hasOwn(preset, name))
    .flatMap((name) => {
      const spelling = spellingOf(cli.words, name);
      return spelling === null ? [] : [longName(spelling), text(name)];
    });
  return [...cli.words.split(" "), ...args, ...options, ...(ALSO[cli.words] ?? [])];
}

test("every declared command is there, below a noun that help names", () => {
  const words = [...OPCODES.values()].flatMap(({ cli }) => (cli === null ? [] : [cli.words]));
  expect([...words, ...TAKEN].filter((each) => named(each) === undefined)).toEqual([]);
  expect(words.length).toBeGreaterThan(55);
  expect([...new Set(COMMANDS.map(({ words: [noun] }) => noun))].sort()).toEqual(Object.keys(NOUNS).sort());
  const below = COMMANDS.filter(({ words: { length } }) => length > 2).map((spec) => spec.words.slice(0, 2).join(" "));
  expect([...new Set(below)].sort()).toEqual(Object.keys(BELOW).sort());
});

describe.each(SUBMITTED)("gnt $name", ({ opcode, cli, name }) => {
  const { properties = {} } = jsonSchemaOf(opcode);

  test("makes an opcode that is valid of what is required", () => {
    const { spec, args, gathered } = parsed(...requiredArgv(opcode, cli));
    expect(spec.words.join(" ")).toBe(name);
    const params = paramsOf(opcode, cli, isForMany(name) ? [args[0]?.[0]] : args, gathered);
    expect(opcode.schema.safeParse(params).error).toBeUndefined();
  });

  const single = Object.entries(properties as Readonly<Record<string, JsonSchema>>).filter(
    ([param]) =>
      !/^(.*_uuids?|live|debug_level|reason|depends|dry_run|priority|comment)$/.test(param) &&
      !cli.args.includes(param) &&
      spellingOf(name, param) !== null,
  );
  test.each(single.map(([param, schema]) => ({ param, schema })))("takes $param", ({ param, schema }) => {
    const kind = valueKindOf(schema);
    const value = exampleFor(param, schema, kind);
    const spelling = longName(spellingOf(name, param) ?? "");
    const base = requiredArgv(opcode, cli).filter(
      (word, index, all) => word !== spelling && all[index - 1] !== spelling,
    );
    const isSwitch = kind.kind === "flag" && (kind.unset !== null || /^(no|ignore)_/.test(param));
    const off = spelling.startsWith("--no-") ? spelling.replace("--no-", "--") : spelling.replace("--", "--no-");
    const secret = /^osparams_(private|secret)/.test(param);
    const option = isSwitch ? [value === true ? spelling : off] : [spelling, exampleText(kind, value)];
    if (secret) option[1] = "/dev/null";
    const { gathered } = parsed(...base, ...option);
    const read = opcode.params[param]?.safeParse(gathered.params[param]);
    expect(read?.error, JSON.stringify(value)).toBeUndefined();
    expect(read?.data).toEqual(opcode.params[param]?.parse(secret ? {} : value));
  });

  test("has each option once, and nothing beside what is declared or composed of it", () => {
    const flags = named(name)
      ?.shape()
      .options.flatMap((option) => option.flags.split(" ").filter((word) => word.startsWith("-")))
      .map((flag) => flag.replace(",", ""));
    expect(flags).toEqual([...new Set(flags)]);
  });
});

describe.each(DIRECT)("gnt $name", ({ method, cli, name }) => {
  test("asks for a path that leads to the method", () => {
    const examples: Readonly<Record<string, string>> = { age: "2h", duration: "30m", job_id: "17", priority: "10" };
    const argv = cli.args.map((arg) => examples[arg] ?? "web1");
    const also = name === "token add" ? ["--rights", "instances=read"] : [];
    const required = named(name)?.shape();
    expect(required?.args.map((arg) => arg.name)).toEqual(cli.args);
    const { args, gathered } = parsed(...name.split(" "), ...argv, ...also);
    const [request] = requestsOf(method, cli, args, gathered);
    const path = method.path.replaceAll(/:(\w+)/g, (_all, part: string) => String(request?.[part]));
    expect(findResource(path)?.resource.methods.get(method.method)).toBe(method);
  });
});

test("every spelling is of a parameter that there is", () => {
  const byCommand = new Map<string, Set<string>>();
  for (const { opcode, name } of SUBMITTED) byCommand.set(name, new Set(Object.keys(opcode.params)));
  byCommand.set("backup import", byCommand.get("instance add") ?? new Set());
  const everywhere = new Set([...byCommand.values()].flatMap((params) => [...params]));
  const wrong = spelledParameters().filter(
    ([command, param]) => !(command === null ? everywhere : byCommand.get(command))?.has(param),
  );
  expect(wrong.filter(([command]) => command === null || !TAKEN.has(command))).toEqual([]);
  const needless = spelledParameters().filter(
    ([command, param]) => spellingOf(command ?? "", param) === `--${param.replaceAll("_", "-")}`,
  );
  expect(needless).toEqual([]);
  expect(Object.keys(COMMAND_DEFAULTS).filter((command) => !byCommand.has(command))).toEqual([]);
  expect(
    Object.keys(OTHER_VERBS).filter((command) => named(command) === undefined && command !== "cluster master-failover"),
  ).toEqual([]);
});
