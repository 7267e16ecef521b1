/** Which of Ganeti's configurations can be read: `major * 1000000 + minor * 10000 + revision` (spec/config.json). */
import type { Findings } from "./findings.ts";
import type { JsonObject } from "./json-object.ts";

export interface ConfigurationVersion {
  readonly major: number;
  readonly minor: number;
}

/** Before it nodes and instances stood by name; Ganeti's own upgrade makes one of 2.16 of them. */
const OLDEST: ConfigurationVersion = { major: 2, minor: 12 };
/** The oldest that is promised. */
const OLDEST_TRIED: ConfigurationVersion = { major: 2, minor: 16 };
const NEWEST: ConfigurationVersion = { major: 3, minor: 1 };

/** Undefined, with the problem noted, when the file cannot be read at all. */
export function readVersion(findings: Findings, file: JsonObject): ConfigurationVersion | undefined {
  const number = file.raw("version");
  if (typeof number !== "number" || !Number.isSafeInteger(number) || number < 1_000_000) {
    findings.fatal(["version"], "is missing or no version: this is not Ganeti's config.data");
    return undefined;
  }
  const version = { major: Math.floor(number / 1_000_000), minor: Math.floor((number % 1_000_000) / 10_000) };
  if (isBefore(version, OLDEST)) {
    findings.fatal(["version"], `is ${text(version)}; upgrade with Ganeti's own tools to 2.16 first`);
    return undefined;
  }
  if (isBefore(NEWEST, version))
    findings.problem(
      ["version"],
      `is ${text(version)}, which is newer than what is known here, ${text(NEWEST)}`,
      "what that version has added",
    );
  else if (isBefore(version, OLDEST_TRIED))
    findings.note(["version"], `is ${text(version)}, older than 2.16: look at the result with care`);
  return version;
}

export function isBefore(a: ConfigurationVersion, b: ConfigurationVersion): boolean {
  return a.major < b.major || (a.major === b.major && a.minor < b.minor);
}

export function text({ major, minor }: ConfigurationVersion): string {
  return `${major}.${minor}`;
}
