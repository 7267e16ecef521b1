/** Simulated `lxc-wait`. */
import { runLxcTool } from "./lxc.ts";

await runLxcTool("lxc-wait");
