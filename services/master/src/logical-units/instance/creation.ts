/** What a creation comes to once it is checked, from whatever the instance is made. */
import type { Instance } from "@gannet/objects";
import type { CreatePlan, PlacedInstance } from "./create-plan.ts";
import type { NewIdentity } from "./create-rows.ts";
import type { CommittedInstance } from "./forthcoming.ts";
import type { ImportSource } from "./import-source.ts";
import type { RemoteSource } from "./remote-source.ts";
import type { UntrustedInstall } from "./untrusted-install.ts";

/** Whether the instance's rows are written now, or are there since it was reserved. */
export type MadeFrom =
  | { readonly from: "nothing"; readonly plan: CreatePlan; readonly identity: NewIdentity }
  | { readonly from: "reservation"; readonly committed: CommittedInstance };

export interface Creation {
  readonly plan: PlacedInstance;
  readonly made: MadeFrom;
  /** The row as it is before anything is started; of one that is made from nothing, without its disks. */
  readonly draft: Instance;
  /** What every script of its OS definition is given. */
  readonly osParameters: Readonly<Record<string, string>>;
  readonly start: boolean;
  /** Where its contents come from; null where its OS definition makes them. */
  readonly source: ImportSource | RemoteSource | null;
  /** Null where its OS definition's script is run on the node itself, if at all. */
  readonly untrusted: UntrustedInstall | null;
}
