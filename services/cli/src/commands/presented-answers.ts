/** Answers of direct methods that are shown in another form than what they hold. */
import { SYSTEM_PORTS } from "@gannet/objects";
import type { Workplace } from "../command.ts";

/** By the command's words. */
export const PRESENTED: Readonly<Record<string, (workplace: Workplace, answer: unknown) => Promise<void>>> = {
  "node add": joinLine,
  "node add-master": joinLine,
};

/** The one line to run on the machine that joins: what the answer calls `URL` is how that machine reaches the cluster. */
async function joinLine({ client, clusterUrl, terminal }: Workplace, answer: unknown): Promise<void> {
  const { command, node_name: node } = answer as { readonly command: string; readonly node_name: string };
  const { hostname, port } = new URL(await clusterUrl());
  const isHere = hostname === "localhost" || /^(127\.|\[::1\])/.test(hostname);
  const host = isHere ? (await (await client()).get("/2/info")).name : hostname;
  terminal.note(`Run this on ${node} within 15 minutes:`);
  terminal.out(command.replace("URL", `https://${host}:${port === "" ? SYSTEM_PORTS.rapi : port}`));
}
