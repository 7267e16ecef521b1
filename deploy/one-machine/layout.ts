/** Where everything of a one-machine cluster lies below its state directory. */
import path from "node:path";

/** Domain of the example cluster's names; `.test` is reserved for such use (RFC 6761). */
export const DOMAIN = "gannet.test";

export interface NodePlan {
  /** `node1`: names its folder and its pid file. */
  readonly id: string;
  readonly name: string;
  /** An address of the loopback network that is its own. */
  readonly ip: string;
  readonly dir: string;
  readonly identityDir: string;
  readonly configFile: string;
  /** Tools, devices and volumes of a node whose LVM and DRBD are simulated. */
  readonly simulatedStorageDir: string;
  /** The addresses that the node is given. */
  readonly simulatedAddressesDir: string;
}

export interface Layout {
  readonly stateDir: string;
  readonly runDir: string;
  readonly redisDir: string;
  readonly redisSocket: string;
  readonly caDir: string;
  readonly masterDir: string;
  readonly masterStateDir: string;
  readonly masterIdentityDir: string;
  readonly masterConfigFile: string;
  /** The cluster domain secret. */
  readonly domainSecretFile: string;
  readonly rapiDir: string;
  readonly rapiIdentityDir: string;
  readonly usersFile: string;
  readonly credentialsFile: string;
  /** OS definitions of this cluster alone, for trying one out. */
  readonly osDir: string;
  /** The site's hooks, which every node runs. */
  readonly hooksDir: string;
  /** The site's scripts, such as the one that moves the cluster's address. */
  readonly scriptsDir: string;
  /** The site's allocators. */
  readonly allocatorsDir: string;
  /** What all nodes see: the files of disks of template sharedfile. */
  readonly sharedStorageDir: string;
  /** Where the simulated DRBD of all nodes meets. */
  readonly simulatedNetworkDir: string;
  /** Ports chosen at the first start and kept. */
  readonly portsFile: string;
  readonly nodes: readonly NodePlan[];
}

export function layoutOf(stateDir: string, nodeCount: number): Layout {
  const at = (...parts: string[]) => path.join(stateDir, ...parts);
  return {
    stateDir,
    runDir: at("run"),
    redisDir: at("redis"),
    redisSocket: at("redis", "redis.sock"),
    caDir: at("ca"),
    masterDir: at("master"),
    masterStateDir: at("master", "state"),
    masterIdentityDir: at("master", "identity"),
    masterConfigFile: at("master", "master.json"),
    domainSecretFile: at("master", "cluster-domain-secret"),
    rapiDir: at("rapi"),
    rapiIdentityDir: at("rapi", "identity"),
    usersFile: at("rapi", "users"),
    credentialsFile: at("rapi", "credentials"),
    osDir: at("os"),
    hooksDir: at("hooks"),
    scriptsDir: at("scripts"),
    allocatorsDir: at("allocators"),
    sharedStorageDir: at("shared-storage"),
    simulatedNetworkDir: at("simulated-network"),
    portsFile: at("run", "ports.json"),
    nodes: Array.from({ length: nodeCount }, (_, index) => {
      const id = `node${index + 1}`;
      return {
        id,
        name: `${id}.${DOMAIN}`,
        ip: `127.0.${Math.floor((index + 10) / 250)}.${((index + 10) % 250) + 1}`,
        dir: at(id),
        identityDir: at(id, "identity"),
        configFile: at(id, "agent.json"),
        simulatedStorageDir: at(id, "simulated-storage"),
        simulatedAddressesDir: at(id, "simulated-addresses"),
      };
    }),
  };
}
