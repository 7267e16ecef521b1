/** Where lxc's commands stand on this node. */

export interface LxcOptions {
  /** Holds lxc-start and the others. */
  readonly binFolder: string;
}

export const SYSTEM_LXC: LxcOptions = { binFolder: "/usr/bin" };
