/** One process at a time for a folder of state. */
import { createHash } from "node:crypto";
import { realpath } from "node:fs/promises";
import { createConnection, createServer } from "node:net";
import { ConfigurationError } from "@gannet/errors";

/**
 * Hold a folder until the answered function is called or this process ends, however it ends: by a socket in
 * Linux's abstract namespace (unix(7)), whose name no other process of this machine can have meanwhile.
 *
 * @param role - what holds it, for the message: "agent"
 * @throws ConfigurationError when another process of this role holds it
 */
export async function holdFolder(folder: string, role: string): Promise<() => void> {
  const socket = createServer((connection) => connection.destroy());
  const name = await socketName(folder, role);
  await new Promise<void>((resolve, reject) => {
    socket.once("error", (error: NodeJS.ErrnoException) =>
      reject(
        error.code === "EADDRINUSE"
          ? new ConfigurationError(`Another ${role} is running with the state folder ${folder}`)
          : error,
      ),
    );
    socket.listen(name, resolve);
  });
  socket.unref();
  return () => socket.close();
}

/** Whether a process holds the folder in this role, and is not standing still: it answers within `timeoutMs`. */
export async function isHeld(folder: string, role: string, timeoutMs: number): Promise<boolean> {
  const connection = createConnection(await socketName(folder, role));
  return await new Promise((resolve) => {
    const answer = (held: boolean) => {
      clearTimeout(timer);
      connection.destroy();
      resolve(held);
    };
    const timer = setTimeout(answer, timeoutMs, false);
    // The holder closes each connection: the kernel alone would only open it.
    connection.resume().once("end", () => answer(true));
    connection.once("error", (error: NodeJS.ErrnoException) => answer(error.code === "ECONNRESET"));
  });
}

async function socketName(folder: string, role: string): Promise<string> {
  const name = createHash("sha256")
    .update(await realpath(folder))
    .digest("hex");
  return `\0gannet-${role}-${name}`;
}
