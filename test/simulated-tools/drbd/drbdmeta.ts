/** The program of simulated drbdmeta: `drbdmeta.ts <node folder> [--force] <device> v08 <volume> <index> <command>`. */
import { runWithFaults } from "../faults.ts";
import { drbdmeta } from "./drbdmeta-commands.ts";

const [nodeFolder = "", ...words] = process.argv.slice(2);
await runWithFaults(nodeFolder, "drbdmeta", () => drbdmeta(nodeFolder, words));
