/**
 * Steps whose effect ends when the node is switched off: guests run no more then, and devices are not attached. Their
 * answers hold for one boot; asked for again in another one they are done again, which drivers allow. A disk that was
 * made, filled or removed stays so.
 */
import { type MethodDefinition, SERVICES } from "@gannet/rpc";

const { blockDevices, instances, node } = SERVICES;

const METHODS: readonly Pick<MethodDefinition<never, never>, "path">[] = [
  ...[blockDevices.assemble, blockDevices.shutdown, blockDevices.standBy, blockDevices.seed, blockDevices.connect],
  ...[blockDevices.disconnect, blockDevices.attachVolumes, blockDevices.detachVolumes, blockDevices.pauseSync],
  ...[instances.start, instances.stop, instances.reboot, instances.setMemory, instances.hotplug],
  ...[instances.acceptMigration, instances.finishMigrationSource, instances.finishMigrationTarget],
  ...[node.activateMasterAddress, node.deactivateMasterAddress, node.changeMasterNetmask],
];

export const UNTIL_REBOOT: ReadonlySet<string> = new Set(METHODS.map(({ path }) => path));
