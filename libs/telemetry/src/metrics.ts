/**
 * A daemon's figures for Prometheus. Names and units follow its conventions: `gannet_` first, seconds and bytes,
 * `_total` behind what only grows. Labels have few values: never the name of an instance, never an id.
 */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";

export { Counter, Gauge, Histogram, type Registry };

/** Its own default of 10 wakes a process a hundred times a second: most of what an idle agent used of a processor. */
const DELAY_PRECISION_MS = 100;

/** Seconds, from a look-up in memory to a slow answer. */
export const REQUEST_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10] as const;
/** Seconds, from a command's start to a disk's copy. */
export const WORK_SECONDS = [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800, 7_200] as const;

/** Where a daemon's configuration has its metrics; false: nowhere. */
export type MetricsPlace = { readonly host: string; readonly port: number } | false;

/**
 * With the process' own figures and those of Node (event loop, garbage collection, memory) in it, which cost a little
 * all the time and are left out where nobody is answered.
 */
export function createMetricsRegistry(place: MetricsPlace): Registry {
  const registry = new Registry();
  if (place !== false) collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: DELAY_PRECISION_MS });
  return registry;
}

/** One value of a gauge, with its labels. */
export type Reading = readonly [labels: Readonly<Record<string, string>>, value: number];

/** Prometheus waits for ten seconds, and wants the rest even where Redis hangs. */
const READ_LIMIT_MS = 2_000;

/**
 * A gauge that is read when it is asked for. What cannot be read, or not in time, is absent, which is how an alert can
 * tell it from 0.
 * @param read - may reject, or never end; it is not called again before it has ended
 */
export function readingGauge(
  registry: Registry,
  { name, help, labels = [] }: { readonly name: string; readonly help: string; readonly labels?: readonly string[] },
  read: () => readonly Reading[] | Promise<readonly Reading[]>,
): void {
  let reading: Promise<readonly Reading[]> | undefined;
  const readNow = () =>
    Promise.resolve()
      .then(read)
      .catch(() => [])
      .finally(() => {
        reading = undefined;
      });
  new Gauge({
    name,
    help,
    labelNames: [...labels],
    registers: [registry],
    async collect() {
      reading ??= readNow();
      const late = new Promise<readonly Reading[]>((resolve) => {
        setTimeout(resolve, READ_LIMIT_MS, []).unref();
      });
      const readings = await Promise.race([reading, late]);
      this.reset();
      if (labels.length === 0 && readings.length === 0) this.remove();
      for (const [values, value] of readings) this.set(values, value);
    },
  });
}
