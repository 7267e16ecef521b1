/** Simulated `lxc-stop`. */
import { runLxcTool } from "./lxc.ts";

await runLxcTool("lxc-stop");
