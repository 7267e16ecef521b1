/** The program of simulated drbdsetup: `drbdsetup.ts <node folder> <command> <argument>… [--option[=value]]…`. */
import { runWithFaults } from "../faults.ts";
import { drbdsetup } from "./drbdsetup-commands.ts";

const [nodeFolder = "", ...words] = process.argv.slice(2);
await runWithFaults(nodeFolder, "drbdsetup", () => drbdsetup(nodeFolder, words));
