/** A thread that computes one plan after the other. */
import { parentPort } from "node:worker_threads";
import { computePlan, type PlanOrder } from "./plans.ts";

parentPort?.on("message", (order: PlanOrder) => parentPort?.postMessage(computePlan(order)));
