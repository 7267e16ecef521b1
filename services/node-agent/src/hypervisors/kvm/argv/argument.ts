/** The two ways qemu takes structured arguments. */

/** For options that take JSON: nothing in it needs escaping for qemu. */
export function json(value: Readonly<Record<string, unknown>>): string {
  return JSON.stringify(value);
}

/** A value inside `key=value,…`: qemu reads a doubled comma as a comma. */
export function escaped(value: string): string {
  return value.replaceAll(",", ",,");
}

/** A listening unix socket as a character device called `id`. */
export function listeningSocket(id: string, path: string): readonly string[] {
  return ["-chardev", `socket,id=${id},path=${escaped(path)},server=on,wait=off`];
}

/** Ids of a guest's devices: the kind and enough of the UUID; node names have at most 31 characters. */
export function deviceId(kind: "disk" | "nic", uuid: string): string {
  return `${kind}-${uuid.split("-").slice(0, 3).join("-")}`;
}
