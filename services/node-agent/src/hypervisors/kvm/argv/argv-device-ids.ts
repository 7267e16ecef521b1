/** The ids of the devices on a command line of qemu: those made here, and those of `kvm_extra`. */
export function argvDeviceIds(argv: readonly string[]): readonly string[] {
  return argv.flatMap((argument, index) => {
    const id = argv[index - 1] === "-device" || argv[index - 1] === "--device" ? deviceIdOf(argument) : undefined;
    return id === undefined ? [] : [id];
  });
}

/** Of `{"driver": …, "id": …}` or `driver,id=…`. */
function deviceIdOf(argument: string): string | undefined {
  return argument.startsWith("{") ? JSON.parse(argument).id : /,id=([^,]+)/.exec(argument)?.[1];
}
