/** Scenarios as data, and the run of one after the other with each step timed. */
import type { Lab } from "./lab.ts";
import type { NodeMachine } from "./node-machine.ts";

/** Does a part of a scenario, and tells how long it took. */
export type Step = <Result>(name: string, body: () => Promise<Result>) => Promise<Result>;

/** What scenarios run on. */
export interface Ground {
  /** Those that are switched on. */
  readonly running: readonly { readonly name: string; readonly machine: NodeMachine }[];
  /** Switch on as many nodes as are needed and not on yet. */
  use(count: number): Promise<unknown>;
  /** @throws Error naming what the scenario has left on the first `count` nodes, where others follow it there */
  assertNothingLeft(count: number): Promise<void>;
  /** After a scenario that failed, so that the next one has a chance. */
  tidyUp(): Promise<void>;
  stop(): Promise<void>;
}

export interface Scenario<On extends Ground = Lab> {
  readonly name: string;
  /** Nodes that must be switched on. */
  readonly nodes: 1 | 2 | 3;
  /** Also the image of image/cloud-guest.ts, which takes minutes to make. */
  readonly needsCloudGuest?: true;
  readonly run: (lab: On, step: Step) => Promise<void>;
}

export interface Outcome {
  readonly passed: number;
  readonly failed: number;
}

/** One after the other on the same cluster; each leaves it as it found it. */
export async function runScenarios<On extends Ground>(lab: On, scenarios: readonly Scenario<On>[]): Promise<Outcome> {
  let passed = 0;
  for (const scenario of scenarios) {
    console.log(`\n${scenario.name}`);
    const startedAt = performance.now();
    try {
      await timed(`${scenario.nodes} nodes are up`, () => lab.use(scenario.nodes));
      await scenario.run(lab, timed);
      await timed("nothing is left on the nodes", () => lab.assertNothingLeft(scenario.nodes));
      passed += 1;
      console.log(`  passed in ${seconds(startedAt)}`);
    } catch (error) {
      console.log(`  FAILED after ${seconds(startedAt)}: ${error instanceof Error ? error.message : String(error)}`);
      await lab.tidyUp().catch((problem: unknown) => console.log(`  cleaning up: ${String(problem)}`));
    }
  }
  return { passed, failed: scenarios.length - passed };
}

/** Do it, and print how long it took. */
export async function timed<Result>(name: string, body: () => Promise<Result>): Promise<Result> {
  const startedAt = performance.now();
  try {
    const result = await body();
    console.log(`  ${seconds(startedAt)}  ${name}`);
    return result;
  } catch (error) {
    console.log(`  ${seconds(startedAt)}  ${name}: failed`);
    throw error;
  }
}

function seconds(startedAt: number): string {
  return `${((performance.now() - startedAt) / 1000).toFixed(1).padStart(6)} s`;
}
