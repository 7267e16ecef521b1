/** Scenarios as data, and the run of one after the other with each step timed. */
import type { Lab } from "./lab.ts";
import { assertNothingLeft, clearNode } from "./leftovers.ts";

/** Does a part of a scenario, and tells how long it took. */
export type Step = <Result>(name: string, body: () => Promise<Result>) => Promise<Result>;

export interface Scenario {
  readonly name: string;
  /** Nodes that must be switched on. */
  readonly nodes: 1 | 2 | 3;
  /** Also the image of image/cloud-guest.ts, which takes minutes to make. */
  readonly needsCloudGuest?: true;
  readonly run: (lab: Lab, step: Step) => Promise<void>;
}

export interface Outcome {
  readonly passed: number;
  readonly failed: number;
}

/** One after the other on the same cluster; each leaves it as it found it. */
export async function runScenarios(lab: Lab, scenarios: readonly Scenario[]): Promise<Outcome> {
  let passed = 0;
  for (const scenario of scenarios) {
    console.log(`\n${scenario.name}`);
    const startedAt = performance.now();
    try {
      await timed(`${scenario.nodes} nodes are up`, () => lab.use(scenario.nodes));
      await scenario.run(lab, timed);
      await timed("nothing is left on the nodes", () => assertNothingLeft(lab, scenario.nodes));
      passed += 1;
      console.log(`  passed in ${seconds(startedAt)}`);
    } catch (error) {
      console.log(`  FAILED after ${seconds(startedAt)}: ${error instanceof Error ? error.message : String(error)}`);
      await tidyUp(lab).catch((problem: unknown) => console.log(`  cleaning up: ${String(problem)}`));
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

/** After a failure, so that the next scenario has a chance. */
async function tidyUp(lab: Lab): Promise<void> {
  await lab.mend();
  const { body } = await lab.rapi.rapi("GET", "/2/instances");
  for (const { id } of body as readonly { readonly id: string }[])
    await lab.rapi.job("DELETE", `/2/instances/${id}`, { shutdown_timeout: 0 });
  for (const node of lab.running) await clearNode(node);
}

function seconds(startedAt: number): string {
  return `${((performance.now() - startedAt) / 1000).toFixed(1).padStart(6)} s`;
}
