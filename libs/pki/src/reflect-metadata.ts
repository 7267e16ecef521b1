/**
 * The three functions of the Reflect Metadata proposal that tsyringe, which @peculiar/x509 is built on, wants to find on
 * `Reflect` when it is loaded. Imported before it; one that is there already stays.
 */
type MetadataReflect = typeof Reflect & {
  defineMetadata?: (key: unknown, value: unknown, target: object) => void;
  getOwnMetadata?: (key: unknown, target: object) => unknown;
  getMetadata?: (key: unknown, target: object) => unknown;
};

const metadata = new WeakMap<object, Map<unknown, unknown>>();
const reflect: MetadataReflect = Reflect;

if (reflect.getMetadata === undefined) {
  reflect.defineMetadata = (key, value, target) => {
    const own = metadata.get(target) ?? new Map<unknown, unknown>();
    metadata.set(target, own.set(key, value));
  };
  reflect.getOwnMetadata = (key, target) => metadata.get(target)?.get(key);
  reflect.getMetadata = (key, target) => {
    for (let owner: object | null = target; owner !== null; owner = Object.getPrototypeOf(owner)) {
      const own = metadata.get(owner);
      if (own?.has(key) === true) return own.get(key);
    }
    return undefined;
  };
}
