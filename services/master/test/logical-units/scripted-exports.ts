/** A node's folder of exports, in memory: what is written, and what its description puts in its place. */
import { BlockDeviceError, OpPrereqError } from "@gannet/errors";

/** Somebody's, of a key that nobody has; valid for a hundred years. */
export const CERTIFICATE = `-----BEGIN CERTIFICATE-----
MIIBiTCCAS+gAwIBAgIUHzmVlfr9y9/Dq+RMNNcKSK6Q28UwCgYIKoZIzj0EAwIw
GTEXMBUGA1UEAwwObm9kZTEuZ250LnRlc3QwIBcNMjYxMTIyMDkzMDE0WhgPMjEy
NjEwMjkwOTMwMTRaMBkxFzAVBgNVBAMMDm5vZGUxLmdudC50ZXN0MFkwEwYHKoZI
zj0CAQYIKoZIzj0DAQcDQgAEDGnRwZde5saYbUSuLt9n3SPHjKNolY+xUFeyiYTx
XDpEIPzJ0tlNpuN40Fk5sS/HM3D+6dcuCVL24/rrgeg3+6NTMFEwHQYDVR0OBBYE
FBWC4G1GIQpRnUyo9Rp7KqOHGsWpMB8GA1UdIwQYMBaAFBWC4G1GIQpRnUyo9Rp7
KqOHGsWpMA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIhAMZCGAOA
B8j1w0VtNNpUsePz1GRvXpzJ4pMs2xMtWGFMAiAcVtQQ5f9Ghp+5AvrRgWrXP590
bDEOYoK21q3MbziZmw==
-----END CERTIFICATE-----
`;

interface ExportFile {
  readonly instanceName: string;
  readonly file: string;
}

/** By instance name. */
export interface Export {
  readonly description: string;
  /** Contents by the file's name. */
  readonly files: ReadonlyMap<string, string>;
}

export class ExportFolder {
  readonly finished = new Map<string, Export>();
  readonly unfinished = new Map<string, Map<string, string>>();

  writerOf({ instanceName, file }: ExportFile): (contents: string) => void {
    const files = this.unfinished.get(instanceName) ?? new Map<string, string>();
    this.unfinished.set(instanceName, files);
    files.set(file, "");
    return (contents) => void files.set(file, contents);
  }

  read({ instanceName, file }: ExportFile): string {
    const contents = this.finished.get(instanceName)?.files.get(file);
    if (contents === undefined) throw new BlockDeviceError(`there is no file ${file} in an export of ${instanceName}`);
    return contents;
  }

  /** What an agent does when its master asks. */
  methods() {
    return {
      finalizeExport: ({ instanceName, description }: Finalization) => {
        const files = this.unfinished.get(instanceName) ?? this.finished.get(instanceName)?.files ?? new Map();
        this.finished.set(instanceName, { description, files });
        this.unfinished.delete(instanceName);
        return {};
      },
      listExports: () => ({ instanceNames: [...this.finished.keys()] }),
      exportInfo: ({ export: name }: { readonly export: string }) => {
        const found = this.finished.get(name);
        if (found === undefined)
          throw new OpPrereqError(`There is no export of ${name} on this node`, "unknown_entity");
        return { description: found.description };
      },
      removeExport: ({ export: name, unfinishedOnly }: Removal) => {
        this.unfinished.delete(name);
        if (!unfinishedOnly) this.finished.delete(name);
        return {};
      },
    };
  }
}

interface Finalization {
  readonly instanceName: string;
  readonly description: string;
}

interface Removal {
  readonly export: string;
  readonly unfinishedOnly: boolean;
}
