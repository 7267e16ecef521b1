/** `make faults`: the long form, with its counts. GANNET_FAULT_SEED, GANNET_FAULT_KILLS and GANNET_FAULT_JOBS change it. */
import { faultSeed } from "./seeded-random.ts";
import { findings, report, runUnderLoad } from "./under-load.ts";

const seed = faultSeed();
const kills = Number(process.env.GANNET_FAULT_KILLS || 100);
const jobs = Number(process.env.GANNET_FAULT_JOBS || 500);
console.log(`seed ${seed}: ${jobs} jobs, ${kills} faults`);
const result = await runUnderLoad({ seed, jobs, kills, progress: (text) => console.log(text) });
for (const finding of findings(result)) console.log(finding);
console.log(report(seed, result));
process.exitCode = findings(result).length === 0 ? 0 : 1;
