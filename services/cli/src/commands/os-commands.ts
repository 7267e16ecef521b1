/** Operating systems as `gnt-os` tells of them and changes their defaults, which are parameters of the cluster. */
import { HttpError, OpPrereqError } from "@gannet/errors";
import { ClusterSetParams } from "@gannet/opcodes";
import type { CommandSpec, Workplace } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { runJobs } from "../jobs/run-jobs.ts";
import { JOB_OPTIONS, JSON_OUTPUT } from "../options/common-options.ts";
import type { OptionSpec } from "../options/option-spec.ts";
import { readKeyValues, readSwitch } from "../options/read-value.ts";
import { printValue } from "../output/print-result.ts";

const INFO_FIELDS = ["name", "valid", "hidden", "blacklisted", "trusted", "variants", "api_versions", "parameters"];

const info: CommandSpec = {
  words: ["os", "info"],
  doc: "Tell all of operating systems: variants, parameters, whether they are valid on all nodes.",
  shape: () => ({
    args: [{ name: "names", doc: "The operating systems; all where none is named.", required: false, variadic: true }],
    options: [JSON_OUTPUT],
  }),
  run: async ({ client, terminal }: Workplace, [given = []], { control }) => {
    const names = typeof given === "string" ? [given] : given;
    const { data } = await (await client()).put("/2/query/:resource", {
      resource: "os",
      body: { fields: INFO_FIELDS },
    });
    const rows = data.map((cells) => Object.fromEntries(cells.map(([, value], i) => [INFO_FIELDS[i] ?? "", value])));
    const missing = names.filter((name) => !rows.some((row) => row.name === name));
    if (missing.length > 0) throw new HttpError(404, `There is no operating system ${missing.join(", ")}`);
    const meant = rows.filter(({ name }) => names.length === 0 || names.includes(String(name)));
    if (control.json === true) terminal.out(JSON.stringify(meant, undefined, 2));
    else for (const { name, ...facts } of meant) printValue(terminal, { [String(name)]: facts });
    return EXIT.done;
  },
};

/** What is said of the one OS that the command names becomes a part of the cluster's parameters. */
const MODIFY_OPTIONS: readonly OptionSpec[] = [
  {
    flags: "-H, --hypervisor-parameters <hypervisor:key=value,...>",
    doc: "Hypervisor parameters of its instances; may repeat.",
    apply: ({ control }, value) => {
      const [, hypervisor, settings = ""] = /^([^:=,]+):(.*)$/s.exec(value) ?? [];
      if (hypervisor === undefined)
        throw new OpPrereqError(`-H takes HYPERVISOR:key=value,…, not ${JSON.stringify(value)}`, "wrong_input");
      control.osHvp = { ...(control.osHvp as object | undefined), [hypervisor]: readKeyValues(settings, "-H") };
    },
  },
  {
    flags: "-O, --os-parameters <key=value,...>",
    doc: "OS parameters of its instances.",
    apply: ({ control }, value) => {
      control.osparams = { ...(control.osparams as object | undefined), ...readKeyValues(value, "-O") };
    },
  },
  ...(["hidden", "blacklisted"] as const).map(
    (list): OptionSpec => ({
      flags: `--${list} <yes|no>`,
      doc: list === "hidden" ? "Leave it out of lists." : "Let nobody install it.",
      words: ["yes", "no"],
      apply: ({ params }, value) => {
        params[`${list}_os`] = readSwitch(value, `--${list}`) ? "add" : "remove";
      },
    }),
  ),
];

const modify: CommandSpec = {
  words: ["os", "modify"],
  doc: "Change what instances of an operating system have by default, and whether it may be chosen.",
  shape: () => ({
    args: [
      { name: "os_name", doc: "The operating system, with its variant or without.", required: true, variadic: false },
    ],
    options: [...MODIFY_OPTIONS, ...JOB_OPTIONS],
  }),
  run: async (workplace, [given], { params, control }) => {
    const os = String(given);
    const { hidden_os: hidden, blacklisted_os: blacklisted, ...rest } = params;
    const request = {
      ...rest,
      ...(control.osHvp !== undefined && { os_hvp: { [os]: control.osHvp } }),
      ...(control.osparams !== undefined && { osparams: { [os]: control.osparams } }),
      ...(hidden !== undefined && { hidden_os: [[hidden, os]] }),
      ...(blacklisted !== undefined && { blacklisted_os: [[blacklisted, os]] }),
    };
    return await runJobs(workplace, ClusterSetParams, [request], control);
  },
};

export const OS_COMMANDS: readonly CommandSpec[] = [info, modify];
