/** One process at a time for a folder of state. */
import { createHash } from "node:crypto";
import { realpath } from "node:fs/promises";
import { createServer } from "node:net";
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
  const name = createHash("sha256")
    .update(await realpath(folder))
    .digest("hex");
  await new Promise<void>((resolve, reject) => {
    socket.once("error", (error: NodeJS.ErrnoException) =>
      reject(
        error.code === "EADDRINUSE"
          ? new ConfigurationError(`Another ${role} is running with the state folder ${folder}`)
          : error,
      ),
    );
    socket.listen(`\0gannet-${role}-${name}`, resolve);
  });
  socket.unref();
  return () => socket.close();
}
