/** Simulated `ip`: addresses of interfaces, as the cluster's own address is put on one and taken from it. */
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import path from "node:path";
import { runWithFaults, type ToolAnswer } from "../faults.ts";

interface Address {
  readonly netdev: string;
  readonly local: string;
  readonly prefixlen: number;
  readonly label?: string;
  readonly deprecated: boolean;
}

const [nodeFolder = "", ...words] = process.argv.slice(2);
const file = path.join(nodeFolder, "addresses.json");

await runWithFaults(nodeFolder, "ip", (): ToolAnswer => {
  const command = words.join(" ");
  if (command === "-json address show") return { exitCode: 0, stdout: `${JSON.stringify(shown(read()))}\n` };
  const [, action, address = "", , netdev = "", ...options] = words;
  if (!/^address (add|del) \S+ dev \S+/.test(command)) return failed(`"${command}" is not simulated`, 1);
  const [local = "", length = ""] = address.split("/");
  const present = read();
  const isSame = (each: Address) => each.local === local && each.netdev === netdev && each.prefixlen === Number(length);
  if (action === "del") {
    if (!present.some(isSame)) return failed("RTNETLINK answers: Cannot assign requested address", 2);
    write(present.filter((each) => !isSame(each)));
    return { exitCode: 0 };
  }
  if (present.some(isSame)) return failed("RTNETLINK answers: File exists", 2);
  const label = options[options.indexOf("label") + 1];
  const deprecated = options.join(" ").includes("preferred_lft 0");
  write([
    ...present,
    { netdev, local, prefixlen: Number(length), deprecated, ...(options.includes("label") && label ? { label } : {}) },
  ]);
  return { exitCode: 0 };
});

function shown(addresses: readonly Address[]) {
  return [...new Set(addresses.map(({ netdev }) => netdev))].map((ifname) => ({
    ifname,
    addr_info: addresses.filter(({ netdev }) => netdev === ifname).map(({ netdev: _netdev, ...rest }) => rest),
  }));
}

function read(): readonly Address[] {
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch {
    return [];
  }
}

function write(addresses: readonly Address[]): void {
  writeFileSync(`${file}.new`, JSON.stringify(addresses));
  renameSync(`${file}.new`, file);
}

function failed(text: string, exitCode: number): ToolAnswer {
  return { exitCode, stderr: `${text}\n` };
}
