/** Sound cards. */
import { HypervisorError } from "@gannet/errors";
import type { LaunchPlan } from "../launch-plan.ts";
import { json } from "./argument.ts";
import type { DeviceSlots } from "./device-slots.ts";

type SoundPlan = Pick<LaunchPlan, "params">;
type Device = Readonly<Record<string, unknown>>;

interface SoundCard {
  readonly driver: string;
  /** The speaker of a PC is part of its machine. */
  readonly bus: "pci" | "isa" | "machine";
}

/** Names that Ganeti's `soundhw` takes from qemu's old option of the same name. */
const SOUND_CARDS: Readonly<Record<string, SoundCard>> = {
  ac97: { driver: "AC97", bus: "pci" },
  es1370: { driver: "ES1370", bus: "pci" },
  hda: { driver: "intel-hda", bus: "pci" },
  sb16: { driver: "sb16", bus: "isa" },
  adlib: { driver: "adlib", bus: "isa" },
  cs4231a: { driver: "cs4231a", bus: "isa" },
  gus: { driver: "gus", bus: "isa" },
  pcspk: { driver: "isa-pcspk", bus: "machine" },
};
/** As in that option: every card there is. */
const ALL = "all";
const AUDIO = "audio";

/** What `-machine` is told. @throws HypervisorError for a card that is not known */
export function soundMachineOptions(plan: SoundPlan): readonly string[] {
  return soundCards(plan).some(({ bus }) => bus === "machine") ? [`pcspk-audiodev=${AUDIO}`] : [];
}

/** What qemu must have. @throws HypervisorError for a card that is not known */
export function soundDevices(plan: SoundPlan): readonly string[] {
  return soundCards(plan).flatMap(({ driver, bus }) => (bus === "machine" ? [] : [driver]));
}

/** What the guest plays is heard where its screen is seen: by SPICE, and nowhere without it. @throws HypervisorError */
export function soundArgv(plan: Pick<LaunchPlan, "params" | "spice">, slots: DeviceSlots): readonly string[] {
  const cards = soundCards(plan);
  if (cards.length === 0) return [];
  const backend = json({ driver: plan.spice === null ? "none" : "spice", id: AUDIO });
  const devices = cards
    .filter(({ bus }) => bus !== "machine")
    .flatMap((card, index) => cardDevices(card, index, slots));
  return ["-audiodev", backend, ...devices.flatMap((device) => ["-device", json(device)])];
}

function cardDevices({ driver, bus }: SoundCard, index: number, slots: DeviceSlots): readonly Device[] {
  const id = index === 0 ? "sound" : `sound${index}`;
  const place = bus === "pci" ? slots.pci(id) : {};
  if (driver !== "intel-hda") return [{ driver, id, ...place, audiodev: AUDIO }];
  // The controller of HD audio has no sound of its own; what does sits on its bus.
  return [
    { driver, id, ...place },
    { driver: "hda-duplex", bus: `${id}.0`, audiodev: AUDIO },
  ];
}

/** Of a list with commas; each once. */
function soundCards({ params }: SoundPlan): readonly SoundCard[] {
  const asked = params.soundhw.split(",").flatMap((name) => (name.trim() === "" ? [] : [name.trim()]));
  const names = new Set(asked.flatMap((name) => (name === ALL ? Object.keys(SOUND_CARDS) : [name])));
  return [...names].map((name) => {
    const card = SOUND_CARDS[name];
    if (card !== undefined) return card;
    const known = [...Object.keys(SOUND_CARDS), ALL].join(", ");
    throw new HypervisorError(`soundhw: ${name} is not supported; use some of ${known}, with commas`);
  });
}
