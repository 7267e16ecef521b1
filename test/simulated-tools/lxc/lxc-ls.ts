/** Simulated `lxc-ls`. */
import { runLxcTool } from "./lxc.ts";

await runLxcTool("lxc-ls");
