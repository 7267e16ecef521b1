/** A thread that computes one plan and ends. */
import { parentPort, workerData } from "node:worker_threads";
import { computePlan, type PlanOrder } from "./plans.ts";

parentPort?.postMessage(computePlan(workerData as PlanOrder));
