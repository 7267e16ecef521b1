/** How things are shown. */
import { expect, test } from "vitest";
import { sizeText, valueText } from "../src/output/cell-text.ts";
import { describeLines } from "../src/output/describe.ts";
import { barText, JobLogWriter, progressOf } from "../src/output/job-log.ts";
import { printValue } from "../src/output/print-result.ts";
import { tableLines } from "../src/output/table.ts";
import { fakeTerminal } from "./fake-terminal.ts";

test("sizes have the unit that suits them, or one unit for all", () => {
  expect([512, 1536, 3 * 1024 * 1024].map((mib) => sizeText(mib, "h"))).toEqual(["512M", "1.5G", "3.0T"]);
  expect((["m", "g", "t"] as const).map((units) => sizeText(1536, units))).toEqual(["1536", "1.5", "0.0"]);
});

test("values are written as Ganeti's tools write them", () => {
  expect(valueText(true, "bool", "h")).toBe("Y");
  expect(valueText(["a", null, 3], "other", "h")).toBe("a,-,3");
  expect(valueText({ a: 1 }, "other", "h")).toBe('{"a":1}');
  expect(valueText([1_795_293_830, 5], "other", "h")).toMatch(/^2026-11-2\d \d\d:\d\d:\d\d$/);
  expect(valueText([3, 4], "other", "h")).toBe("3,4");
});

test("columns are as wide as what is in them, numbers to the right", () => {
  const columns = [
    { title: "Node", isRight: false },
    { title: "MTotal", isRight: true },
  ];
  const rows = [
    ["node1.gannet.test", "512M"],
    ["n\u001b[2J\n2", "16.0G"],
  ];
  expect(tableLines(columns, rows, { headers: true })).toEqual([
    "Node              MTotal",
    "node1.gannet.test   512M",
    "n [2J 2            16.0G",
  ]);
  expect(tableLines(columns, rows.slice(0, 1), { headers: false, separator: ":" })).toEqual(["node1.gannet.test:512M"]);
});

test("objects are described line by line", () => {
  const value = {
    name: "web1",
    up: true,
    tags: [],
    nics: [{ mac: "aa", ips: ["1", "2"] }],
    os: null,
    be: { memory: 128 },
  };
  expect(describeLines(value)).toEqual([
    "name: web1",
    "up: yes",
    "tags: none",
    "nics:",
    "  - mac: aa",
    "    ips: 1, 2",
    "os: -",
    "be:",
    "  memory: 128",
  ]);
});

test.each([
  [
    " - INFO: - device disk/0: 12.50% done, 1m 3s remaining (estimated)",
    "device disk/0",
    12.5,
    "done, 1m 3s remaining (estimated)",
  ],
  ["* memory transfer progress: 40.00 %", "memory transfer progress", 40, ""],
  [" - INFO: - done: 7.0% ETA: 9s", "done", 7, "ETA: 9s"],
  [" - INFO: disk/0: 512 MiB (50.0 %), 20.1 MiB/s, 3s left", "disk/0: 512 MiB", 50, "20.1 MiB/s, 3s left"],
])("%s tells of progress", (text, label, percent, rest) => {
  expect(progressOf(text)).toEqual({ label, percent, rest });
});

test("other messages tell of none", () => {
  expect(progressOf(" - INFO: Instance web1's disks are in sync")).toBeUndefined();
  expect(progressOf("* 300 % of nothing")).toBeUndefined();
});

test("a bar fits the terminal", () => {
  const bar = barText({ label: "disk/0", percent: 50, rest: "3s left" }, 60);
  expect(bar).toBe(`disk/0 [${"#".repeat(17)}${".".repeat(17)}]  50.0 % 3s left`);
  expect(barText({ label: "x".repeat(90), percent: 1, rest: "" }, 60)).toHaveLength(59);
});

test("a log has bars where somebody looks, and lines otherwise", () => {
  const entries = ["* begin", " - INFO: - done: 10.0% ETA: 9s", " - INFO: - done: 20.0% ETA: 8s", "* end"].map(
    (text, index): [number, [number, number], string, string] => [index, [1_795_293_830, 0], "message", text],
  );
  const plain = fakeTerminal();
  const writer = new JobLogWriter(plain.terminal, "job 3: ");
  for (const entry of entries) writer.write(entry);
  expect(plain.notes).toHaveLength(4);
  expect(plain.notes[1]).toMatch(/^\d\d:\d\d:\d\d job 3: {2}- INFO: - done: 10\.0% ETA: 9s$/);
  const live = fakeTerminal({ isLive: true });
  const lively = new JobLogWriter(live.terminal);
  for (const entry of entries) lively.write(entry);
  expect(live.notes.map((line) => line.slice(9))).toEqual(["* begin", "* end"]);
  expect(live.overwritten.map((line) => line.slice(0, 6))).toEqual(["done [", "done [", ""]);
});

test("rows of one shape are a table, anything else is described", () => {
  const { terminal, lines } = fakeTerminal();
  printValue(terminal, [
    { id: 1, name: "a" },
    { id: 22, name: null },
  ]);
  printValue(terminal, [["/instances/web1", "red"]]);
  printValue(terminal, { list: [{ deep: { er: 1 } }] });
  printValue(terminal, null);
  printValue(terminal, []);
  expect(lines).toEqual(["id name", " 1 a", "22 -", "/instances/web1 red", "list:", "  - deep:", "      er: 1"]);
});
