/** The VLANs of a NIC (spec/config.json, `nicparams.vlan`; ganeti(7)). */
import { HypervisorError } from "@gannet/errors";

export interface VlanMembership {
  /** Of packets without a tag. */
  readonly untagged: number | undefined;
  readonly tagged: readonly number[];
}

const FORM = /^(?:\.?(\d{1,4}))?((?::\d{1,4})*)$/;
/** IEEE 802.1Q: 0 and 4095 are reserved. */
const HIGHEST = 4094;

/**
 * `.10` is untagged, `:10:20` tagged, `.10:20` both; a plain number counts as `.10`.
 * @throws HypervisorError when it has another form, or a number is no VLAN's
 */
export function parseVlan(text: string): VlanMembership {
  const [, untagged, tagged = ""] = FORM.exec(text) ?? refuse(text);
  return {
    untagged: untagged === undefined ? undefined : vlanNumber(untagged, text),
    tagged: tagged
      .split(":")
      .slice(1)
      .map((number) => vlanNumber(number, text)),
  };
}

function vlanNumber(digits: string, text: string): number {
  const number = Number(digits);
  return number >= 1 && number <= HIGHEST ? number : refuse(text);
}

function refuse(text: string): never {
  throw new HypervisorError(`vlan ${JSON.stringify(text)} is not like .10:20, with numbers from 1 to ${HIGHEST}`);
}
