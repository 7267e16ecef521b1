/** Where a guest's SPICE server shall listen, from its parameters and this node's addresses. */
import { constants } from "node:fs";
import { access } from "node:fs/promises";
import { isIP } from "node:net";
import { networkInterfaces } from "node:os";
import type { GuestSpec } from "@gannet/driver-contract";
import { HypervisorError } from "@gannet/errors";
import type { KvmParameters } from "./kvm-parameters.ts";
import type { SpiceCertificate, SpiceListener } from "./launch-plan.ts";

/** Ganeti's (`gnt-cluster renew-crypto --spice-certificate`). */
export const SYSTEM_SPICE_CERTIFICATE: SpiceCertificate = {
  certFile: "/var/lib/ganeti/spice.pem",
  caFile: "/var/lib/ganeti/spice-ca.pem",
};

/**
 * `spice_bind` is an IP address, or the name of an interface, of which an address of the version asked for is taken,
 * IPv4 where both would do. Null when it is empty.
 * @throws HypervisorError
 */
export async function spiceListener(
  guest: GuestSpec,
  params: KvmParameters,
  certificate: SpiceCertificate,
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
    tls: params.spice_use_tls ? await readable(certificate) : null,
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

async function readable(certificate: SpiceCertificate): Promise<SpiceCertificate> {
  for (const file of [certificate.certFile, certificate.caFile]) {
    await access(file, constants.R_OK).catch((error) => {
      throw new HypervisorError(`spice_use_tls: the node's certificate ${file} cannot be read`, { cause: error });
    });
  }
  return certificate;
}
