/** Simulated `lxc-start`. */
import { runLxcTool } from "./lxc.ts";

await runLxcTool("lxc-start");
