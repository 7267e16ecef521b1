/** Where a guest's SPICE server shall listen, from its parameters and this node's addresses. */
import { isIP } from "node:net";
import { networkInterfaces } from "node:os";
import type { GuestSpec } from "@gannet/driver-contract";
import { HypervisorError } from "@gannet/errors";
import type { KvmParameters } from "./kvm-parameters.ts";
import type { SpiceListener } from "./launch-plan.ts";
import type { SpiceCertificates } from "./spice-certificate.ts";

/**
 * `spice_bind` is an IP address, or the name of an interface, of which an address of the version asked for is taken,
 * IPv4 where both would do. Null when it is empty.
 * @throws HypervisorError
 */
export async function spiceListener(
  guest: GuestSpec,
  params: KvmParameters,
  certificates: Pick<SpiceCertificates, "find">,
): Promise<SpiceListener | null> {
  const bind = params.spice_bind;
  if (bind === "") return null;
  if (guest.networkPort === null) {
    throw new HypervisorError(`spice_bind is ${bind}, but the instance has no network port for SPICE`);
  }
  return {
    address: addressOf(bind, params.spice_ip_version),
    port: guest.networkPort,
    password: params.spice_password_file !== "",
    tls: params.spice_use_tls ? await certificates.find() : null,
  };
}

function addressOf(bind: string, version: number): string {
  if (isIP(bind) !== 0) return bind;
  const addresses = networkInterfaces()[bind] ?? [];
  const wanted = version === 0 ? [4, 6] : [version];
  for (const each of wanted) {
    // One of a single link means nothing without the link's name.
    const found = addresses.find(({ family, scopeid }) => family === `IPv${each}` && !scopeid);
    if (found !== undefined) return found.address;
  }
  const kind = version === 0 ? "" : ` of version ${version}`;
  throw new HypervisorError(`spice_bind: this node has no interface ${bind} with an address${kind}`);
}
