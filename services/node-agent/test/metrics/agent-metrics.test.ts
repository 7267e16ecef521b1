import { createCommandRunner } from "@gannet/exec";
import { createMetricsRegistry, silentLogger } from "@gannet/telemetry";
import { expect, test } from "vitest";
import { AgentMetrics } from "../../src/metrics/agent-metrics.ts";

async function countsOf(registry: ReturnType<typeof createMetricsRegistry>, name: string): Promise<string[]> {
  const text = await registry.getSingleMetricAsString(name);
  return text.split("\n").filter((line) => line.startsWith(`${name}_count`));
}

test("commands are counted by what came of them", async () => {
  const registry = createMetricsRegistry(false);
  const metrics = new AgentMetrics(registry);
  const runner = createCommandRunner({ logger: silentLogger(), onCommandEnd: (run) => metrics.commandEnded(run) });
  const run = (argv: [string, ...string[]], timeoutMs = 20_000) =>
    runner.run({ argv, timeoutMs }).catch(() => undefined);
  await run(["/bin/true"]);
  await run(["/bin/true"]);
  await run(["/bin/false"]);
  await run(["/bin/sleep", "60"], 50);
  await run(["true"]);
  expect((await countsOf(registry, "gannet_command_duration_seconds")).sort()).toEqual([
    'gannet_command_duration_seconds_count{program="false",outcome="failed"} 1',
    'gannet_command_duration_seconds_count{program="sleep",outcome="timeout"} 1',
    'gannet_command_duration_seconds_count{program="true",outcome="ok"} 2',
    'gannet_command_duration_seconds_count{program="true",outcome="refused"} 1',
  ]);
});

test("a site's scripts do not grow the figures without end", async () => {
  const registry = createMetricsRegistry(false);
  const metrics = new AgentMetrics(registry);
  for (let i = 0; i < 500; i++) metrics.commandEnded({ program: `/etc/hooks/${i}`, durationMs: 1, outcome: "ok" });
  const counts = await countsOf(registry, "gannet_command_duration_seconds");
  expect(counts).toHaveLength(101);
  expect(counts.at(-1)).toBe('gannet_command_duration_seconds_count{program="other",outcome="ok"} 400');
});
