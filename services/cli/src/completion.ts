/** Completion for shells: scripts for them, and the words that may come next. */
import { OpPrereqError, Unavailable } from "@gannet/errors";
import type { QueryResource } from "@gannet/opcodes";
import type { RapiClient } from "@gannet/rapi-client";
import type { CommandSpec } from "./command.ts";
import { NOUNS } from "./nouns.ts";

const PROGRAMS = ["gnt", ...Object.keys(NOUNS).map((noun) => `gnt-${noun}`)];

const SCRIPTS: Readonly<Record<string, string>> = {
  bash: `# Completion of gnt for bash: source <(gnt completion bash)
_gnt() {
  local IFS=$'\\n' noun=\${COMP_WORDS[0]##*/}
  noun=\${noun#gnt}; noun=\${noun#-}
  COMPREPLY=($(compgen -W "$(gnt complete \${noun:+"$noun"} "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _gnt ${PROGRAMS.join(" ")}`,
  zsh: `#compdef ${PROGRAMS.join(" ")}
# Completion of gnt for zsh: source <(gnt completion zsh)
_gnt() {
  local noun=\${words[1]:t}
  noun=\${noun#gnt}; noun=\${noun#-}
  local -a candidates
  candidates=("\${(@f)$(gnt complete \${noun:+$noun} "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  compadd -a candidates
}
compdef _gnt ${PROGRAMS.join(" ")}`,
};

/** @throws OpPrereqError wrong_input for another shell */
export function completionScript(shell: string): string {
  const script = Object.hasOwn(SCRIPTS, shell) ? SCRIPTS[shell] : undefined;
  if (script === undefined) throw new OpPrereqError("gnt completion takes bash or zsh", "wrong_input");
  return script;
}

/** Which objects an argument or option names, by its parameter. */
const NAMED: readonly (readonly [param: RegExp, resource: QueryResource, field: string])[] = [
  [/^(source_)?instance(s|_name|-name)?$/, "instance", "name"],
  [/^(node|nodes|node_names?|target_node|new-secondary|target-node|primary|secondary|on_nodes)$/, "node", "name"],
  [/^(group_name|node-group|to)$/, "group", "name"],
  [/^network_name$/, "network", "name"],
  [/^job_id$/, "job", "id"],
  [/^filter_uuid$/, "filter", "uuid"],
  [/^os-type$/, "os", "name"],
];
/** A shell waits no longer than this for a name. */
const PATIENCE_MS = 2_000;

/**
 * The words that may stand where the last of these stands.
 * @param words what is typed behind the program's name, the unfinished one last
 */
export async function candidates(
  words: readonly string[],
  commands: readonly CommandSpec[],
  client: () => Promise<RapiClient>,
): Promise<readonly string[]> {
  const before = words.slice(0, -1);
  const last = words.at(-1) ?? "";
  const spec = commandAt(before, commands);
  const found = spec === undefined ? wordsAfter(before, commands) : await behind(spec, before, last, client);
  return [...new Set(found)].filter((word) => word.startsWith(last)).sort();
}

/** The command whose words all stand there already. */
function commandAt(before: readonly string[], commands: readonly CommandSpec[]): CommandSpec | undefined {
  return commands.find(({ words, otherVerbs = [] }) =>
    words.every(
      (word, index) =>
        before[index] === word || (index === words.length - 1 && otherVerbs.includes(before[index] ?? "")),
    ),
  );
}

function wordsAfter(before: readonly string[], commands: readonly CommandSpec[]): readonly string[] {
  const fitting = commands.filter(
    ({ words, hidden }) =>
      hidden !== true && words.length > before.length && before.every((word, i) => word === words[i]),
  );
  const more = before.length === 0 ? ["completion", "manual"] : [];
  const others = fitting.flatMap(({ words, otherVerbs = [] }) =>
    words.length === before.length + 1 ? otherVerbs : [],
  );
  return [...fitting.map(({ words }) => words[before.length] ?? ""), ...others, ...more];
}

async function behind(
  spec: CommandSpec,
  before: readonly string[],
  last: string,
  client: () => Promise<RapiClient>,
): Promise<readonly string[]> {
  const { args, options } = spec.shape();
  const previous = before.at(-1) ?? "";
  const open = options.find(({ flags }) => flags.includes("<") && flags.split(/[ ,]+/).includes(previous));
  if (open?.words !== undefined) return open.words.map(String);
  if (open !== undefined) return await namesOf(previous.replace(/^--?/, ""), client);
  if (last.startsWith("-"))
    return options.filter(({ hidden }) => hidden !== true).flatMap(({ flags }) => flags.match(/--[\w-]+/g) ?? []);
  const given = before.slice(spec.words.length).filter((word) => !word.startsWith("-")).length;
  const arg = args[Math.min(given, args.length - 1)];
  return arg === undefined || (given >= args.length && !arg.variadic) ? [] : await namesOf(arg.name, client, spec);
}

async function namesOf(
  param: string,
  client: () => Promise<RapiClient>,
  spec?: CommandSpec,
): Promise<readonly string[]> {
  const wanted = param === "names" || param === "name" ? (spec?.words[0] ?? "") : param;
  const known = NAMED.find(([pattern]) => pattern.test(wanted));
  if (known === undefined) return [];
  const [, resource, field] = known;
  try {
    const input = { resource, query: { fields: [field] } };
    const { data } = await (await client()).get("/2/query/:resource", input, {
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    return data.flatMap(([cell]) => (cell === undefined ? [] : [String(cell[1])]));
  } catch (error) {
    if (error instanceof OpPrereqError || error instanceof Unavailable) return [];
    if (error instanceof Error && error.name === "TimeoutError") return [];
    throw error;
  }
}
