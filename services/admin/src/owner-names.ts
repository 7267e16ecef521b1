/** Users and groups by name and number, as passwd(5) and group(5) say. */
import { readFile } from "node:fs/promises";
import path from "node:path";

export class OwnerNames {
  readonly #users: ReadonlyMap<string, number>;
  readonly #groups: ReadonlyMap<string, number>;

  private constructor(users: ReadonlyMap<string, number>, groups: ReadonlyMap<string, number>) {
    this.#users = users;
    this.#groups = groups;
  }

  /** Of the system below a root; this system's own where there is none. */
  static async of(root: string): Promise<OwnerNames> {
    const numbers = async (name: string) => {
      const own = await readFile(path.join(root, "etc", name), "utf8").catch(() => undefined);
      return numbersIn(own ?? (await readFile(path.join("/etc", name), "utf8").catch(() => "")));
    };
    return new OwnerNames(await numbers("passwd"), await numbers("group"));
  }

  /** The name; the number as text when nobody has it. */
  userName(uid: number): string {
    return nameOf(this.#users, uid);
  }

  groupName(gid: number): string {
    return nameOf(this.#groups, gid);
  }

  /** Undefined when there is no such user. */
  uid(name: string): number | undefined {
    return numberOf(this.#users, name);
  }

  gid(name: string): number | undefined {
    return numberOf(this.#groups, name);
  }
}

function numbersIn(text: string): ReadonlyMap<string, number> {
  return new Map(
    text.split("\n").flatMap((line): readonly (readonly [string, number])[] => {
      const [name = "", , number = ""] = line.split(":");
      return name !== "" && /^\d+$/.test(number) ? [[name, Number(number)]] : [];
    }),
  );
}

function nameOf(numbers: ReadonlyMap<string, number>, number: number): string {
  for (const [name, own] of numbers) if (own === number) return name;
  return String(number);
}

function numberOf(numbers: ReadonlyMap<string, number>, name: string): number | undefined {
  return numbers.get(name) ?? (/^\d+$/.test(name) ? Number(name) : undefined);
}
