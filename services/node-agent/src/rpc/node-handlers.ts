/** NodeService: the node itself. */
import { setTimeout as delay } from "node:timers/promises";
import { OpPrereqError } from "@gannet/errors";
import { isInterfaceName, isIpv4 } from "@gannet/objects";
import { type AgentHandlers, type MasterAddressRequest, OBSERVER_EPOCH, SERVICES } from "@gannet/rpc";
import { z } from "zod";
import type { SiteAllocators } from "../allocators/site-allocators.ts";
import type { SiteHooks } from "../hooks/site-hooks.ts";
import type { HostsFile } from "../hosts-file/hosts-file.ts";
import type { NodeIdentity } from "../identity/node-identity.ts";
import type { KeptConfiguration } from "../kept-configuration.ts";
import type { LiveState } from "../live-state/live-state.ts";
import type { MasterAddressSetup } from "../master-address/master-address.ts";
import type { OpenvswitchSetup } from "../nics/openvswitch-setup.ts";
import { checkAddresses } from "../node-facts/addresses.ts";
import type { NodeFacts } from "../node-facts/node-facts.ts";
import type { NodeVerification } from "../node-facts/node-verification.ts";
import type { PowerCycle } from "../power-cycle.ts";
import type { SelfFence } from "../self-fence/self-fence.ts";
import { OOB_COMMANDS, type OobProgram } from "../site-commands/oob-program.ts";
import type { RestrictedCommands } from "../site-commands/restricted-commands.ts";
import type { Fence } from "./fence.ts";
import { guestName, hypervisorName, ipAddress, parse, text, timeoutMs } from "./messages.ts";
import type { Steps } from "./steps.ts";

const MOST_ITEMS = 1_000;
const absolutePath = text.startsWith("/", "is not absolute");
const paths = z.array(absolutePath).max(MOST_ITEMS);
const names = z.array(text).max(MOST_ITEMS);
const addresses = z.array(ipAddress).max(MOST_ITEMS);
const tcpPeers = z.array(z.object({ address: ipAddress, port: z.int().min(1).max(65_535) })).max(MOST_ITEMS);
const oobRun = z.object({
  program: absolutePath,
  command: z.enum(OOB_COMMANDS),
  nodeName: guestName,
  timeoutMs: timeoutMs.positive(),
});
const hookRun = z.object({
  path: z.string().regex(/^[a-z][a-z0-9-]{0,63}$/),
  phase: z.enum(["pre", "post", "round"]),
  // One of cluster-verify's variables has a node's name in its own, dots and all.
  environment: z.record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_.-]*$/), z.string().regex(/^[^\0]*$/)),
});
const LONGEST_PREFIX = { ipv4: 32, ipv6: 128 } as const;
const prefixLength = z.int().min(1).max(LONGEST_PREFIX.ipv6);
const masterAddress = z
  .object({
    address: ipAddress,
    netmask: prefixLength,
    netdev: z.string().refine(isInterfaceName, "is no network interface's name"),
  })
  .refine(({ address, netmask }) => !isIpv4(address) || netmask <= LONGEST_PREFIX.ipv4, "is too long a netmask");
const interfaceName = z.string().refine(isInterfaceName, "is no network interface's name");
const openvswitch = z.object({ name: interfaceName, link: z.union([z.literal(""), interfaceName]) });
/** As many as a cluster may ever have nodes. */
const MOST_HOSTS = 10_000;
const hosts = z.array(z.object({ address: ipAddress, name: guestName })).max(MOST_HOSTS);
/** One address is in one state. */
const MASTER_ADDRESS = ["master-address"];
const fileStorage = z.array(z.object({ template: text, path: absolutePath })).max(MOST_ITEMS);

export function createNodeHandlers(parts: {
  readonly steps: Steps;
  readonly fence: Fence;
  readonly facts: NodeFacts;
  readonly liveState: LiveState;
  readonly verification: NodeVerification;
  readonly allocators: SiteAllocators;
  readonly hooks: SiteHooks;
  readonly oob: OobProgram;
  readonly restrictedCommands: RestrictedCommands;
  readonly powerCycle: PowerCycle;
  readonly masterAddress: MasterAddressSetup;
  readonly hostsFile: HostsFile;
  readonly openvswitch: OpenvswitchSetup;
  readonly keptConfiguration: KeptConfiguration;
  readonly identity: NodeIdentity;
  readonly selfFence: SelfFence | undefined;
}): AgentHandlers["node"] {
  const { steps, fence, facts, liveState, verification, allocators, hooks, oob, restrictedCommands, powerCycle } =
    parts;
  const masterAddressRequest = ({ address, useExternalScript }: MasterAddressRequest) => ({
    address: parse(masterAddress, address, "the cluster's address"),
    useExternalScript,
  });
  return {
    describe: ({ knownStorage }, { signal }) => facts.describe(signal, { space: knownStorage ? "known" : "read" }),

    watch: async function* (request, { signal }) {
      if (request.epoch !== OBSERVER_EPOCH) await fence.admit(request.epoch);
      yield* liveState.watch(request, signal);
    },

    verify: async (request, { signal }) =>
      verification.verify(
        {
          files: parse(paths, request.files, "files"),
          executables: parse(paths, request.executables, "executables"),
          bridges: parse(names, request.bridges, "bridges"),
          fileStorage: parse(fileStorage, request.fileStorage, "file storage"),
          masterAddressScript: request.masterAddressScript,
          allocators: parse(names, request.allocators, "allocators"),
        },
        signal,
      ),

    checkAddresses: async (request, { signal }) =>
      checkAddresses(
        {
          own: parse(addresses, request.own, "own addresses"),
          peers: parse(tcpPeers, request.peers, "peers"),
          from: request.from === "" ? undefined : parse(ipAddress, request.from, "source address"),
        },
        signal,
      ),

    runAllocator: async (request, { signal }) => {
      const name = parse(text, request.name, "name");
      const input = parse(z.string(), request.input, "input");
      return { output: await allocators.run({ name, input, arguments: request.arguments }, signal) };
    },

    runHooks: async (request, { signal }) => {
      const run = parse(hookRun, request, "hooks");
      // Most operations have none: nothing is done then, and nothing need be remembered.
      if ((await hooks.scripts(run)).length === 0) return { results: [] };
      return steps.run(
        {
          step: request.step,
          method: SERVICES.node.runHooks,
          resources: [],
          work: async (running) => ({ results: [...(await hooks.run(run, running))] }),
        },
        signal,
      );
    },

    runOob: async (request, { signal }) => {
      const run = parse(oobRun, request, "out-of-band command");
      return steps.run(
        {
          step: request.step,
          method: SERVICES.node.runOob,
          resources: [`oob/${run.nodeName}`],
          work: async (running) => ({ output: await oob.run(run, running) }),
        },
        signal,
      );
    },

    runRestrictedCommand: async (request, { signal }) =>
      steps.run(
        {
          step: request.step,
          method: SERVICES.node.runRestrictedCommand,
          resources: ["restricted-command"],
          work: async (running) => ({ output: await restrictedCommands.run(request.command, running) }),
        },
        signal,
      ),

    powercycle: async (request, { signal }) => {
      const hypervisor = parse(hypervisorName, request.hypervisor, "hypervisor");
      return steps.run(
        {
          step: request.step,
          method: SERVICES.node.powercycle,
          resources: [],
          work: async () => ({ message: powerCycle.schedule(hypervisor) }),
        },
        signal,
      );
    },

    activateMasterAddress: async (request, { signal }) => {
      const wanted = masterAddressRequest(request);
      return steps.run(
        {
          step: request.step,
          method: SERVICES.node.activateMasterAddress,
          resources: MASTER_ADDRESS,
          work: async (running) => {
            await parts.masterAddress.activate(wanted, running);
            return {};
          },
        },
        signal,
      );
    },

    deactivateMasterAddress: async (request, { signal }) => {
      const former = masterAddressRequest(request);
      return steps.run(
        {
          step: request.step,
          method: SERVICES.node.deactivateMasterAddress,
          resources: MASTER_ADDRESS,
          work: async (running) => {
            await parts.masterAddress.deactivate(former, running);
            return {};
          },
        },
        signal,
      );
    },

    changeMasterNetmask: async (request, { signal }) => {
      const current = parse(masterAddress, request.address, "the cluster's address");
      const { netmask } = parse(masterAddress, { ...current, netmask: request.newNetmask }, "the new netmask");
      return steps.run(
        {
          step: request.step,
          method: SERVICES.node.changeMasterNetmask,
          resources: MASTER_ADDRESS,
          work: async (running) => {
            await parts.masterAddress.changeNetmask(current, netmask, running);
            return {};
          },
        },
        signal,
      );
    },

    setHosts: async (request, { signal }) => {
      const wanted = parse(hosts, request.hosts, "hosts");
      return steps.run(
        {
          step: request.step,
          method: SERVICES.node.setHosts,
          resources: ["hosts-file"],
          work: async () => ({ contradicted: [...(await parts.hostsFile.set(wanted))] }),
        },
        signal,
      );
    },

    configureOpenvswitch: async (request, { signal }) => {
      const wanted = parse(openvswitch, request, "switch");
      return steps.run(
        {
          step: request.step,
          method: SERVICES.node.configureOpenvswitch,
          resources: ["openvswitch"],
          work: async (running) => {
            await parts.openvswitch.configure(wanted, running);
            return {};
          },
        },
        signal,
      );
    },

    keepConfiguration: async ({ epoch, serial, gzip }) => {
      await fence.admit(epoch);
      await parts.keptConfiguration.keep({ epoch, serial, gzip });
      return {};
    },

    setTrust: async ({ epoch, authorities, revoked, revocationList }) => {
      await fence.admit(epoch);
      await parts.identity.setTrust(authorities, { revoked, revocationList });
      return {};
    },

    requestCertificate: async ({ epoch }) => {
      await fence.admit(epoch);
      return { csr: await parts.identity.request() };
    },

    installCertificate: async ({ epoch, certificate }) => {
      await fence.admit(epoch);
      await parts.identity.install(parse(text, certificate, "certificate"));
      return {};
    },

    forgetCluster: async ({ epoch }) => {
      await fence.admit(epoch);
      await parts.identity.forget();
      return {};
    },

    renewSelfFence: async ({ epoch, timeoutMs: lease, ticket }) => {
      await fence.admit(epoch);
      if (parts.selfFence === undefined)
        throw new OpPrereqError("This agent has nothing by which it could guard itself", "wrong_state");
      return await parts.selfFence.renew({ timeoutMs: parse(timeoutMs, lease, "lease"), ticket });
    },

    delay: async (request, { signal }) => {
      const durationMs = parse(timeoutMs, request.durationMs, "duration");
      return steps.run(
        {
          step: request.step,
          method: SERVICES.node.delay,
          resources: [],
          work: async (running) => {
            await delay(durationMs, undefined, { signal: running });
            return {};
          },
        },
        signal,
      );
    },
  };
}
