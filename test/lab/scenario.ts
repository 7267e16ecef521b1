/** Scenarios as data, and their run with each step timed: side by side where they need different nodes. */
import type { Lab } from "./lab.ts";
import type { NodeMachine } from "./node-machine.ts";

/** Does a part of a scenario, and tells how long it took. */
export type Step = <Result>(name: string, body: () => Promise<Result>) => Promise<Result>;

/** What scenarios run on: a lab, or a part of it. */
export interface Ground {
  /** Nodes that it has. */
  readonly size: number;
  /** Whether one of them is the cluster's master node, on which jobs of all scenarios run hooks. */
  readonly hasMasterNode: boolean;
  /** Those that are switched on. */
  readonly running: readonly { readonly name: string; readonly machine: NodeMachine }[];
  /** Switch on as many nodes as are needed and not on yet. */
  use(count: number): Promise<unknown>;
  /** @throws Error naming what a scenario has left on the first `count` nodes, where others follow it there */
  assertNothingLeft(count: number): Promise<void>;
  /** After a scenario that failed, so that the next one has a chance. */
  tidyUp(): Promise<void>;
  stop(): Promise<void>;
}

export interface Scenario<On extends Ground = Lab> {
  readonly name: string;
  /** Nodes that must be switched on. */
  readonly nodes: 1 | 2 | 3;
  /** It measures: nothing runs beside it. */
  readonly alone?: true;
  /** It kills agents of any of its nodes, or cuts their power: beside others none of them is the master node. */
  readonly kills?: true;
  /** Also the image of image/cloud-guest.ts, which takes minutes to make. */
  readonly needsCloudGuest?: true;
  readonly run: (lab: On, step: Step) => Promise<void>;
}

export interface Outcome {
  readonly passed: number;
  readonly failed: number;
}

/**
 * Side by side on parts of the ground: each part takes of the scenarios that are left one for which it has nodes enough,
 * those for many nodes before those for few. Afterwards, on the whole ground, those that need more nodes than a part
 * has, or nothing beside them.
 * @param parts - without a node in common
 */
export async function runScenarios<On extends Ground>(
  { ground, parts }: { readonly ground: On; readonly parts: readonly On[] },
  scenarios: readonly Scenario<On>[],
): Promise<Outcome> {
  const fits = (part: On, { nodes, alone, kills }: Scenario<On>) =>
    !alone && nodes <= part.size && !(kills && part.hasMasterNode);
  const isForPart = (scenario: Scenario<On>) => parts.some((part) => fits(part, scenario));
  const left = scenarios.filter(isForPart).toSorted((one, other) => other.nodes - one.nodes);
  function* takenBy(part: On): Generator<Scenario<On>> {
    for (;;) {
      const next = left.find((scenario) => fits(part, scenario));
      if (next === undefined) return;
      left.splice(left.indexOf(next), 1);
      yield next;
    }
  }
  const lanes = parts.map((part, index) => inTurn(part, takenBy(part), parts.length > 1 ? `lane ${index + 1} | ` : ""));
  const outcomes = await Promise.all(lanes);
  outcomes.push(
    await inTurn(
      ground,
      scenarios.filter((scenario) => !isForPart(scenario)),
      "",
    ),
  );
  const total = (what: keyof Outcome) => outcomes.reduce((sum, outcome) => sum + outcome[what], 0);
  return { passed: total("passed"), failed: total("failed") };
}

/** Each leaves the nodes as it found them. @param label - before each line that is printed */
async function inTurn<On extends Ground>(
  ground: On,
  scenarios: Iterable<Scenario<On>>,
  label: string,
): Promise<Outcome> {
  const outcome = { passed: 0, failed: 0 };
  const tell = (text: string) => console.log(`${label}${text}`);
  const step: Step = (name, body) => timed(name, body, label);
  for (const scenario of scenarios) {
    console.log();
    tell(scenario.name);
    const startedAt = performance.now();
    try {
      await step(`${scenario.nodes} nodes are up`, () => ground.use(scenario.nodes));
      await scenario.run(ground, step);
      await step("nothing is left on the nodes", () => ground.assertNothingLeft(scenario.nodes));
      outcome.passed += 1;
      tell(`  ${scenario.name}: passed in ${seconds(startedAt)}`);
    } catch (error) {
      outcome.failed += 1;
      const problem = error instanceof Error ? error.message : String(error);
      tell(`  ${scenario.name}: FAILED after ${seconds(startedAt)}: ${problem}`);
      await ground.tidyUp().catch((reason: unknown) => tell(`  cleaning up: ${String(reason)}`));
    }
  }
  return outcome;
}

/** Do it, and print how long it took. */
export async function timed<Result>(name: string, body: () => Promise<Result>, label = ""): Promise<Result> {
  const startedAt = performance.now();
  try {
    const result = await body();
    console.log(`${label}  ${seconds(startedAt)}  ${name}`);
    return result;
  } catch (error) {
    console.log(`${label}  ${seconds(startedAt)}  ${name}: failed`);
    throw error;
  }
}

function seconds(startedAt: number): string {
  return `${((performance.now() - startedAt) / 1000).toFixed(1).padStart(6)} s`;
}
