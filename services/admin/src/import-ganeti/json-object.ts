/** One object of the file, read field by field: each value has its type, or the object cannot be taken over. */
import { NotTranslatable, type Path, shown } from "./findings.ts";

export type Json = Readonly<Record<string, unknown>>;

export function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Absent and null are the same, as in Ganeti. All methods throw {@link NotTranslatable} naming the field. */
export class JsonObject {
  readonly path: Path;
  readonly #fields: Json;
  readonly #read = new Set<string>();

  /** @throws NotTranslatable when the value is no object */
  constructor(path: Path, value: unknown) {
    if (!isObject(value)) throw new NotTranslatable(path, `is ${shown(value)} where an object is expected`);
    this.path = path;
    this.#fields = value;
  }

  /** Fields that nothing has asked for. */
  get unread(): readonly string[] {
    return Object.keys(this.#fields).filter((name) => !this.#read.has(name) && this.#fields[name] != null);
  }

  at(name: string): Path {
    return [...this.path, name];
  }

  raw(name: string): unknown {
    this.#read.add(name);
    return Object.hasOwn(this.#fields, name) ? this.#fields[name] : undefined;
  }

  /** These mean nothing here, and are left out without a word. */
  ignore(...names: readonly string[]): void {
    for (const name of names) this.#read.add(name);
  }

  text(name: string, absent?: string): string {
    return this.#typed(name, "text", (value) => (typeof value === "string" ? value : undefined), absent);
  }

  textOrNull(name: string): string | null {
    return this.raw(name) == null ? null : this.text(name);
  }

  int(name: string, absent?: number): number {
    return this.#typed(
      name,
      "a whole number",
      (value) => (typeof value === "number" && Number.isSafeInteger(value) ? value : undefined),
      absent,
    );
  }

  intOrNull(name: string): number | null {
    return this.raw(name) == null ? null : this.int(name);
  }

  number(name: string, absent?: number): number {
    return this.#typed(
      name,
      "a number",
      (value) => (typeof value === "number" && Number.isFinite(value) ? value : undefined),
      absent,
    );
  }

  flag(name: string, absent?: boolean): boolean {
    return this.#typed(name, "true or false", (value) => (typeof value === "boolean" ? value : undefined), absent);
  }

  choice<const Words extends readonly string[]>(name: string, words: Words, absent?: Words[number]): Words[number] {
    return this.#typed(name, `one of ${words.join(", ")}`, (value) => words.find((word) => word === value), absent);
  }

  list(name: string, absent: readonly unknown[] = []): readonly unknown[] {
    return this.#typed(name, "a list", (value) => (Array.isArray(value) ? value : undefined), absent);
  }

  texts(name: string): string[] {
    return this.list(name).map((value, index) => {
      if (typeof value === "string") return value;
      throw new NotTranslatable([...this.at(name), index], `is ${shown(value)} where text is expected`);
    });
  }

  /** An object whose keys are data, not fields; empty when absent. */
  table(name: string): Json {
    return this.#typed(name, "an object", (value) => (isObject(value) ? value : undefined), {});
  }

  #typed<T>(name: string, what: string, read: (value: unknown) => T | undefined, absent: T | undefined): T {
    const value = this.raw(name);
    if (value == null) {
      if (absent !== undefined) return absent;
      throw new NotTranslatable(this.at(name), `is missing: ${what} is expected`);
    }
    const typed = read(value);
    if (typed !== undefined) return typed;
    throw new NotTranslatable(this.at(name), `is ${shown(value)} where ${what} is expected`);
  }
}
