import { compileRegex } from "@gannet/query";

/**
 * Which volumes, `group/name` as a whole, an entry of the cluster's `reserved_lvs` means.
 * @throws OpPrereqError (wrong_input) when it is no regular expression
 */
export function reservedVolumes(pattern: string): (volume: string) => boolean {
  return compileRegex(`^(${pattern})$`);
}
