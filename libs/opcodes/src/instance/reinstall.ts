import { z } from "zod";
import { command, defineOpcode, type RawParams, type RouteInput, type WireOpcode } from "../define.ts";
import * as p from "../params.ts";
import { parseInput } from "../rapi/parse-input.ts";
import * as r from "../results.ts";
import { post } from "../route.ts";
import { InstanceShutdown } from "./shutdown.ts";
import { InstanceStartup } from "./startup.ts";

export const InstanceReinstall = defineOpcode({
  id: "OP_INSTANCE_REINSTALL",
  doc: "Install the operating system of a stopped instance again.",
  params: {
    instance_name: p.instanceName,
    instance_uuid: p.uuid,
    force_variant: p.forceVariant,
    os_type: p.osType,
    osparams: p.optional(p.parameters, "OS parameters for this once."),
    osparams_private: p.osparamsPrivate,
    osparams_secret: p.osparamsSecret,
  },
  result: r.nothing,
  summary: "instance_name",
  rapi: [
    post("/2/instances/:instance_name/reinstall", {
      query: { os: { type: "string", legacy: true }, nostartup: { type: "flag", legacy: true } },
      body: "other",
      convert: stopReinstallStart,
      bodySchema: z.lazy(() => reinstallBody).optional(),
      invert: onlyReinstall,
    }),
  ],
  cli: command("instance reinstall", { args: ["instance_name"] }),
});

const reinstallBody = z.strictObject({
  os: p.osType,
  start: p.flag("Start the instance afterwards.", { default: true }),
  osparams: p.optional(p.parameters, "OS parameters for this once."),
});

/** The body that asks for these parameters; the job stops and starts the instance too. */
function onlyReinstall({ instance_name, os_type, osparams, depends, ...others }: RawParams): RouteInput | undefined {
  if (Object.values(others).some((value) => (value ?? null) !== null)) return undefined;
  return { params: { instance_name, depends }, body: { os: os_type, osparams } };
}

/** The whole job: stop the instance, reinstall it, and start it unless the client does not want that. */
function stopReinstallStart({ params: { instance_name, os, nostartup }, body }: RouteInput): readonly WireOpcode[] {
  const { start, ...install } = parseInput(
    reinstallBody,
    body ?? { os: os ?? null, start: nostartup !== true },
    "Reinstallation",
  );
  return [
    { OP_ID: InstanceShutdown.id, instance_name },
    { OP_ID: InstanceReinstall.id, instance_name, os_type: install.os, osparams: install.osparams },
    ...(start ? [{ OP_ID: InstanceStartup.id, instance_name }] : []),
  ];
}
