/** `/2/os`: what instances can be installed with, as the agents have reported it. */
import { listedOs, OS_ROW_FIELDS, osNames, osRow, osRows } from "@gannet/query";
import { liveValuesOf } from "../../live-state/live-values.ts";
import { jsonAnswer } from "../answers.ts";
import type { DirectContext } from "../direct-context.ts";
import type { Handlers } from "../handlers.ts";

export function osHandlers({ configStore, liveState }: DirectContext): Handlers {
  const live = liveValuesOf(liveState);
  return {
    listOses: ({ params }) => {
      const found = osRows(configStore.view, live);
      return jsonAnswer(params.bulk === true ? listedOs(found, OS_ROW_FIELDS).map(bulkRow) : osNames(found));
    },
  };
}

/** Here, and only here, parameters are objects (spec/rapi.json, `/2/os`). */
function bulkRow(os: Parameters<typeof osRow>[0]): object {
  return { ...osRow(os), parameters: os.parameters.map(([name, description]) => ({ name, description })) };
}
