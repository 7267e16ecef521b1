/** Where a guest's runtime files lie (spec/node-ops.json, `hv.kvm`, `dirs` and `files`). */
import path from "node:path";
import { fileStem, HASHED_STEM_LENGTH, LONGEST_STEM, shortHash } from "../file-stem.ts";

/** Longest path of a unix socket: `sun_path` has 108 bytes with its NUL (unix(7)). */
export const SOCKET_PATH_LIMIT_BYTES = 107;

/** The longest ending of a socket's file name. */
const LONGEST_SOCKET_SUFFIX = ".monitor";

/** All with mode 0700. */
export interface RuntimeFolders {
  readonly pid: string;
  readonly ctrl: string;
  readonly conf: string;
  readonly nic: string;
  readonly log: string;
  readonly chroot: string;
  /** Takes what a guest left in its chroot. */
  readonly quarantine: string;
  /** Holds what instances keep while they are off (firmware/nonvolatile-state.ts). */
  readonly nonvolatile: string;
}

export interface RuntimePaths {
  /** What the guest's files are called before their suffix. */
  readonly stem: string;
  readonly pidFile: string;
  /** The agent's own QMP monitor: qemu serves one client at a time there. */
  readonly qmpSocket: string;
  /** The monitor for people: `socat - UNIX-CONNECT:<path>`. */
  readonly monitorSocket: string;
  readonly serialSocket: string;
  /** The guest agent's end on this node: its JSON protocol. */
  readonly guestAgentSocket: string;
  readonly tpmSocket: string;
  readonly tpmPidFile: string;
  readonly logFile: string;
  /** Holds one file a NIC, named by its index, with the name of the NIC's interface on this node. */
  readonly nicFolder: string;
  /** What is qemu's root folder where the guest asks for one: empty. */
  readonly chroot: string;
}

/**
 * The folders below the agent's state folder. Where its path is so long that no socket fits, sockets go to
 * `shortFolder`, a folder of this user alone, under a name made from the state folder.
 */
export function runtimeFolders(stateDir: string, shortFolder: string): RuntimeFolders {
  const base = path.join(stateDir, "kvm-hypervisor");
  const ctrl = path.join(base, "ctrl");
  const longest = Buffer.byteLength(ctrl) + 1 + HASHED_STEM_LENGTH + LONGEST_SOCKET_SUFFIX.length;
  return {
    pid: path.join(base, "pid"),
    ctrl: longest <= SOCKET_PATH_LIMIT_BYTES ? ctrl : path.join(shortFolder, shortHash(base)),
    conf: path.join(base, "conf"),
    nic: path.join(base, "nic"),
    log: path.join(base, "log"),
    chroot: path.join(base, "chroot"),
    quarantine: path.join(base, "chroot-quarantine"),
    nonvolatile: path.join(base, "nonvolatile"),
  };
}

/** Called by its name where all paths fit, by a hash of it otherwise. */
export function runtimePaths(folders: RuntimeFolders, guestName: string): RuntimePaths {
  const socketRoom = SOCKET_PATH_LIMIT_BYTES - Buffer.byteLength(folders.ctrl) - 1 - LONGEST_SOCKET_SUFFIX.length;
  const stem = fileStem(guestName, Math.min(socketRoom, LONGEST_STEM));
  return {
    stem,
    pidFile: path.join(folders.pid, stem),
    qmpSocket: path.join(folders.ctrl, `${stem}.qmp`),
    monitorSocket: path.join(folders.ctrl, `${stem}.monitor`),
    serialSocket: path.join(folders.ctrl, `${stem}.serial`),
    guestAgentSocket: path.join(folders.ctrl, `${stem}.qga`),
    tpmSocket: path.join(folders.ctrl, `${stem}.tpm`),
    // Not beside qemu's: there a guest may be called so.
    tpmPidFile: path.join(folders.ctrl, `${stem}.tpm.pid`),
    logFile: path.join(folders.log, `${stem}.log`),
    nicFolder: path.join(folders.nic, stem),
    chroot: path.join(folders.chroot, stem),
  };
}
