/** The nouns that commands begin with; `gnt-instance list` is `gnt instance list`. Imports nothing: help is quick. */

export const NOUNS: Readonly<Record<string, string>> = {
  cluster: "The cluster as a whole: its parameters, verification, its job queue.",
  node: "Nodes: adding and removing them, their roles, power and storage.",
  instance: "Instances: their life, devices and consoles.",
  group: "Node groups.",
  network: "Networks and their addresses.",
  job: "Jobs: following, cancelling, archiving.",
  os: "Operating systems that instances can be installed with.",
  backup: "Exports of instances.",
  storage: "External storage providers.",
  tags: "Tags of any object.",
  filter: "Job filters.",
  token: "API tokens.",
  debug: "Locks, and ways to try the machinery.",
};

/** What stands below a noun and has commands of its own. */
export const BELOW: Readonly<Record<string, string>> = {
  "cluster plan": "What could be done: better balance, free capacity, reboots, repairs. Nothing is carried out.",
  "cluster queue": "The job queue.",
  "cluster watcher": "The watcher, which starts instances again that should run.",
};

/** The noun of a program such as `gnt-instance`. */
export function nounOfProgram(program: string): string | undefined {
  const noun = /^gnt-([a-z]+)$/.exec(program)?.[1];
  return noun !== undefined && Object.hasOwn(NOUNS, noun) ? noun : undefined;
}
