/**
 * `make ha`: three machines in network namespaces, each with Redis, Sentinel, a master and an agent, and what they must
 * survive. Prints each scenario with its figures, and closes with `N passed, N failed, N skipped`.
 */
import { HaCluster } from "./ha-cluster.ts";
import { SCENARIOS, type Scenario } from "./scenarios.ts";

const only = process.env.GANNET_HA_ONLY;
const chosen = SCENARIOS.filter(({ name }) => only === undefined || name.includes(only));
let passed = 0;
let failed = 0;

if (process.getuid?.() !== 0) {
  console.log("skipped: network namespaces need root");
  console.log(`0 passed, 0 failed, ${chosen.length} skipped`);
} else {
  for (const scenario of chosen.filter(({ beginsEmpty = false }) => beginsEmpty)) {
    await using cluster = await HaCluster.empty();
    if (!(await pass(scenario, cluster))) break;
  }
  const others = chosen.filter(({ beginsEmpty = false }) => !beginsEmpty);
  if (failed === 0 && others.length > 0) {
    const startedMs = performance.now();
    await using cluster = await HaCluster.start();
    console.log(`three machines are up after ${seconds(startedMs)}`);
    // What follows a failure would begin on a cluster that is not in order.
    for (const scenario of others) if (!(await pass(scenario, cluster))) break;
  }
  console.log(`${passed} passed, ${failed} failed, ${chosen.length - passed - failed} skipped`);
  process.exitCode = failed > 0 || passed === 0 ? 1 : 0;
}

async function pass({ name, run }: Scenario, cluster: HaCluster): Promise<boolean> {
  const startedMs = performance.now();
  try {
    const figures = await run(cluster);
    passed += 1;
    const told = Object.entries(figures).map(([what, value]) => `${what} ${value}`);
    console.log(`passed: ${name} (${seconds(startedMs)}): ${told.join(", ")}`);
    return true;
  } catch (error) {
    failed += 1;
    console.log(`failed: ${name} (${seconds(startedMs)})`, error);
    console.log(await cluster.lastWords());
    return false;
  }
}

function seconds(sinceMs: number): string {
  return `${((performance.now() - sinceMs) / 1000).toFixed(1)} s`;
}
