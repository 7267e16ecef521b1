/** Which optional abilities a driver has. An ability is its methods: a driver that has the first of them has all. */
import type {
  AdoptingDriver,
  BlockDeviceDriver,
  LabellingDriver,
  MirroringDriver,
  RenamingDriver,
  SnapshottingDriver,
} from "./block-device-driver.ts";
import type {
  BallooningDriver,
  HotpluggingDriver,
  HypervisorDriver,
  MeasuringDriver,
  MigratingDriver,
  NonvolatileDriver,
  PowercyclingDriver,
  SavingDriver,
} from "./hypervisor-driver.ts";

/** Each optional ability of block-device drivers, with a method that only those that have it have. */
export interface BlockDeviceAbilities {
  readonly rename: RenamingDriver;
  readonly setInfo: LabellingDriver;
  readonly snapshot: SnapshottingDriver;
  readonly adoptable: AdoptingDriver;
  readonly mirrorStatus: MirroringDriver;
}

/** Each optional ability of hypervisor drivers, in the same way. */
export interface HypervisorAbilities {
  readonly migrate: MigratingDriver;
  readonly save: SavingDriver;
  readonly setMemory: BallooningDriver;
  readonly plug: HotpluggingDriver;
  readonly powercycle: PowercyclingDriver;
  readonly hostResources: MeasuringDriver;
  readonly readNonvolatile: NonvolatileDriver;
}

export function canBlockDevice<Ability extends keyof BlockDeviceAbilities>(
  driver: BlockDeviceDriver,
  ability: Ability,
): driver is BlockDeviceDriver & BlockDeviceAbilities[Ability] {
  return ability in driver;
}

export function canHypervisor<Ability extends keyof HypervisorAbilities>(
  driver: HypervisorDriver,
  ability: Ability,
): driver is HypervisorDriver & HypervisorAbilities[Ability] {
  return ability in driver;
}
