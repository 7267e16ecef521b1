/** Simulated `lxc-freeze`. */
import { runLxcTool } from "./lxc.ts";

await runLxcTool("lxc-freeze");
