#!/usr/bin/env node
/** `gannet-admin`, for whoever sets up and looks after a master's machine: makes clusters, saves and restores them. */
import { exitCodeOf, GannetError } from "@gannet/errors";
import { Command, CommanderError } from "commander";
import { backup } from "./backup/command.ts";
import { hashPasswordCommand } from "./hash-password.ts";
import { importGaneti } from "./import-ganeti/command.ts";
import { init } from "./init/command.ts";
import { joinMasterCommand } from "./join-master/command.ts";
import { rebuild } from "./rebuild/command.ts";
import { restore } from "./restore/command.ts";

const program = new Command("gannet-admin")
  .description("Set up and look after the machine of a Gannet master; as root.")
  .exitOverride()
  .addCommand(init)
  .addCommand(joinMasterCommand)
  .addCommand(backup)
  .addCommand(restore)
  .addCommand(rebuild)
  .addCommand(importGaneti)
  .addCommand(hashPasswordCommand);
for (const command of program.commands) command.exitOverride();

try {
  await program.parseAsync();
} catch (error) {
  // commander has told what was wrong with the command line, or printed what was asked for.
  if (!(error instanceof CommanderError))
    console.error("gannet-admin:", error instanceof GannetError ? error.message : error);
  process.exitCode = error instanceof CommanderError ? error.exitCode : exitCodeOf(error);
}
