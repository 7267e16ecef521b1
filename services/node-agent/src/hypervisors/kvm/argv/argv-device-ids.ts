/** The ids of the devices on a command line of qemu: those made here, and those of `kvm_extra`. */
export function argvDeviceIds(argv: readonly string[]): readonly string[] {
  return argv.flatMap((argument, index) => {
    const id = argv[index - 1] === "-device" || argv[index - 1] === "--device" ? deviceIdOf(argument) : undefined;
    return id === undefined ? [] : [id];
  });
}

/** Of `{"driver": …, "id": …}`, where qemu takes single quotes, too, or of `driver,id=…`. */
function deviceIdOf(argument: string): string | undefined {
  const [, id] = (argument.startsWith("{") ? JSON_ID : PLAIN_ID).exec(argument) ?? [];
  return id;
}

const JSON_ID = /["']id["']\s*:\s*["']([^"']+)["']/;
const PLAIN_ID = /,id=([^,]+)/;
