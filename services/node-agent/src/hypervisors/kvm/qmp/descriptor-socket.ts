/**
 * Connections over which open files can be handed to qemu (unix(7), SCM_RIGHTS). Node hands its own children files in
 * this way and offers it for nothing else. The bindings that it does so with are no public interface (DEP0111), so
 * they are used here alone, and only for guests that need it; a Node without them is told from the others beforehand.
 */
import { closeSync, constants, open } from "node:fs";
import { createConnection, Socket } from "node:net";
import { promisify } from "node:util";
import { HypervisorError } from "@gannet/errors";

/** A file to be opened here and handed to qemu, which takes it for no other access than this. */
export interface EnclosedFile {
  readonly path: string;
  readonly access: "ro" | "rw";
}

export interface MonitorConnection {
  readonly socket: Socket;
  /** @throws HypervisorError */
  writeWith(text: string, file: EnclosedFile): Promise<void>;
}

interface PipeHandle {
  /** Takes the descriptor over. The answer is an error number, or 0. */
  open(descriptor: number): number;
  close(): void;
  /** The answer is an error number, or 0; `request.oncomplete` is called after 0. */
  writeUtf8String(request: WriteRequest, text: string, carried: PipeHandle): number;
}

interface WriteRequest {
  handle?: PipeHandle;
  oncomplete?: (status: number) => void;
}

interface Bindings {
  readonly Pipe: new (kind: number) => PipeHandle;
  readonly WriteWrap: new () => WriteRequest;
  readonly kinds: { readonly SOCKET: number; readonly IPC: number };
}

const bindings = findBindings();

/** Whether {@link connectPassing} works with this Node. */
export const CAN_PASS_DESCRIPTORS = bindings !== undefined;

export function connectPlain(path: string): MonitorConnection {
  return {
    socket: createConnection({ path }),
    writeWith: async () => {
      throw new HypervisorError("The connection to qemu's monitor takes no open files");
    },
  };
}

/** As {@link connectPlain} where Node cannot. */
export function connectPassing(path: string): MonitorConnection {
  if (bindings === undefined) return connectPlain(path);
  const { Pipe, WriteWrap, kinds } = bindings;
  const handle = new Pipe(kinds.IPC);
  // A socket that is given its handle takes it for connected, and reads, unless it is told not to.
  const options: object = { handle, manualStart: true };
  const socket = new Socket(options);
  socket.connect({ path });
  return {
    socket,
    writeWith: async (text, file) => {
      const descriptor = await opened(file);
      const carried = new Pipe(kinds.SOCKET);
      const openFault = carried.open(descriptor);
      if (openFault !== 0) {
        closeSync(descriptor);
        throw new HypervisorError(`A file cannot be handed to qemu (error ${openFault})`);
      }
      const status = await new Promise<number>((resolve) => {
        const request = new WriteWrap();
        request.handle = handle;
        request.oncomplete = resolve;
        const fault = socket.destroyed ? -1 : handle.writeUtf8String(request, text, carried);
        if (fault !== 0) resolve(fault);
      }).finally(() => carried.close());
      if (status !== 0) throw new HypervisorError(`A file could not be handed to qemu (error ${status})`);
    },
  };
}

async function opened({ path, access }: EnclosedFile): Promise<number> {
  return promisify(open)(path, access === "ro" ? constants.O_RDONLY : constants.O_RDWR).catch((error) => {
    throw new HypervisorError(`${path} cannot be opened: ${error.message}`, { cause: error });
  });
}

function findBindings(): Bindings | undefined {
  const { binding } = process as { binding?: (name: string) => Record<string, unknown> };
  try {
    const pipe = binding?.call(process, "pipe_wrap");
    const stream = binding?.call(process, "stream_wrap");
    const { Pipe, constants: kinds } = pipe as { Pipe?: Bindings["Pipe"]; constants?: Bindings["kinds"] };
    const { WriteWrap } = stream as { WriteWrap?: Bindings["WriteWrap"] };
    if (Pipe === undefined || WriteWrap === undefined || kinds === undefined) return undefined;
    return { Pipe, WriteWrap, kinds };
  } catch {
    return undefined;
  }
}
