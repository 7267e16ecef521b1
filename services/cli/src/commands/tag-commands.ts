/** Tags of each kind of object: `gnt instance add-tags web1 red`, and `gnt tags add instance web1 red`. */
import { OpPrereqError } from "@gannet/errors";
import { TagsDel, TagsSearch, TagsSet } from "@gannet/opcodes";
import type { CommandSpec, GivenArguments, Workplace } from "../command.ts";
import { runJobs } from "../jobs/run-jobs.ts";
import { controlText, JOB_OPTIONS, JSON_OUTPUT } from "../options/common-options.ts";
import type { ArgumentSpec, Gathered } from "../options/option-spec.ts";
import { readFile } from "../options/read-value.ts";

/** The kinds of objects that have tags, by the noun of their commands. */
const KIND_OF_NOUN = {
  cluster: "cluster",
  group: "nodegroup",
  instance: "instance",
  network: "network",
  node: "node",
} as const;
type TaggedNoun = keyof typeof KIND_OF_NOUN;
const NOUNS = Object.keys(KIND_OF_NOUN) as readonly TaggedNoun[];

const PATH_OF_NOUN = {
  cluster: "/2/tags",
  group: "/2/groups/:group_name/tags",
  instance: "/2/instances/:instance_name/tags",
  network: "/2/networks/:network_name/tags",
  node: "/2/nodes/:node_name/tags",
} as const;

interface Tagged {
  readonly noun: TaggedNoun;
  /** Null for the cluster. */
  readonly name: string | null;
  readonly rest: readonly string[];
}

const NAME: ArgumentSpec = { name: "name", doc: "The object.", required: true, variadic: false };
const KIND: ArgumentSpec = { name: "kind", doc: NOUNS.join(", "), required: true, variadic: false };
const TAGS: ArgumentSpec = { name: "tags", doc: "The tags.", required: false, variadic: true };
const FROM = controlText("--from <file>", "A file with tags, one a line; - is standard input.", "from");

/** For one noun, or for `gnt tags`, where the kind of object is the first argument. */
export function tagCommands(noun: TaggedNoun | "tags"): readonly CommandSpec[] {
  const isGeneral = noun === "tags";
  const words = (verb: string) => (isGeneral ? ["tags", verb] : [noun, `${verb}-tags`]);
  const before = isGeneral ? [KIND] : noun === "cluster" ? [] : [NAME];
  const objectOf = (args: GivenArguments) => taggedObject(isGeneral ? undefined : noun, args.flat());
  const change = (verb: string, opcode: typeof TagsSet | typeof TagsDel): CommandSpec => ({
    words: words(verb),
    doc: opcode.doc,
    shape: () => ({ args: [...before, TAGS], options: [FROM, ...JOB_OPTIONS] }),
    run: (workplace, args, gathered) => {
      const { noun: of, name, rest } = objectOf(args);
      const tags = [...rest, ...fileTags(gathered)];
      if (tags.length === 0) throw new OpPrereqError("Say which tags", "wrong_input");
      const params = { ...gathered.params, kind: KIND_OF_NOUN[of], name, tags };
      return runJobs(workplace, opcode, [params], gathered.control);
    },
  });
  return [
    {
      words: words("list"),
      doc: "List the tags of an object.",
      shape: () => ({ args: isGeneral ? [KIND, { ...NAME, required: false }] : before, options: [JSON_OUTPUT] }),
      run: (workplace, args, gathered) => listTags(workplace, objectOf(args), gathered),
    },
    change("add", TagsSet),
    change("remove", TagsDel),
    {
      words: words("search"),
      doc: TagsSearch.doc,
      shape: () => ({
        args: [{ name: "pattern", doc: "A regular expression.", required: true, variadic: false }],
        options: JOB_OPTIONS,
      }),
      run: (workplace, [pattern], { params, control }) =>
        runJobs(workplace, TagsSearch, [{ ...params, pattern }], control),
    },
  ];
}

function taggedObject(noun: TaggedNoun | undefined, words: readonly (string | undefined)[]): Tagged {
  const given = words.filter((word) => word !== undefined);
  const [first, ...others] = given;
  const of = noun ?? NOUNS.find((one) => one === first || KIND_OF_NOUN[one] === first);
  if (of === undefined) throw new OpPrereqError(`The kind of object is one of ${NOUNS.join(", ")}`, "wrong_input");
  const behind = noun === undefined ? others : given;
  if (of === "cluster") return { noun: of, name: null, rest: behind };
  const [name, ...rest] = behind;
  if (name === undefined) throw new OpPrereqError(`Say which ${of}`, "wrong_input");
  return { noun: of, name, rest };
}

function fileTags({ control }: Gathered): readonly string[] {
  if (typeof control.from !== "string") return [];
  return readFile(control.from, "--from")
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "");
}

async function listTags(
  { client, terminal }: Workplace,
  { noun, name }: Tagged,
  { control }: Gathered,
): Promise<number> {
  const input = name === null ? {} : { [`${noun}_name`]: name };
  const tags = (await (await client()).call("GET", PATH_OF_NOUN[noun], input)) as readonly string[];
  if (control.json === true) terminal.out(JSON.stringify(tags, undefined, 2));
  else for (const tag of tags) terminal.out(tag);
  return 0;
}
