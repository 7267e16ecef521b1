/** What an option of a command line does to what is asked. */

/** Parameters under their wire names, as they are gathered. */
export type Params = Record<string, unknown>;

/** What a command line said so far. */
export interface Gathered {
  readonly params: Params;
  /** What concerns the program itself: whether to wait, how to print. */
  readonly control: Params;
}

export interface OptionSpec {
  /** As commander has them: `-s, --os-size <size>`. */
  readonly flags: string;
  readonly doc: string;
  /** Understood, and left out of the help. */
  readonly hidden?: true;
  /** The values it knows, for completion and help. */
  readonly words?: readonly (string | number)[];
  /**
   * Called for each use, in their order.
   * @param value undefined for an option that takes none
   * @throws OpPrereqError wrong_input
   */
  readonly apply: (gathered: Gathered, value: string) => void;
}

export interface ArgumentSpec {
  readonly name: string;
  readonly doc: string;
  readonly required: boolean;
  /** Takes all that follows. */
  readonly variadic: boolean;
  /** What kind of object it names, for completion. */
  readonly names?: string;
}
