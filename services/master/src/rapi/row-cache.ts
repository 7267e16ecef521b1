/**
 * The JSON of each object of one kind, as bulk lists and single resources show it, rebuilt only when it was
 * marked as changed. Lists are joined from it, and kept until anything in them changes. Each bulk list has a version,
 * by which a client that has it already is known without its being built.
 */
import { randomUUID } from "node:crypto";
import { jsonAnswer, textAnswer } from "./answers.ts";
import type { Answer } from "./handlers.ts";
import { notFound } from "./refusals.ts";

export interface RowSource<Key extends string> {
  /** All objects of the kind in the order of lists. Called again only after {@link RowCache.reorder}. */
  order(): readonly { readonly key: Key; readonly name: string }[];
  /** One object as the bulk list shows it; undefined when it is gone. */
  row(key: Key): object | undefined;
  /** One entry of the plain list. */
  entry(name: string): object;
}

export class RowCache<Key extends string> {
  readonly #source: RowSource<Key>;
  readonly #rows = new Map<Key, string>();
  /** Versions are counted by each process for itself: those of another one are others. */
  readonly #series = randomUUID();
  #version = 0;
  #order: ReturnType<RowSource<Key>["order"]> | undefined;
  #bulk: Answer | undefined;
  #plain: Answer | undefined;

  constructor(source: RowSource<Key>) {
    this.#source = source;
  }

  /** These objects' rows differ now, or the objects are gone. */
  invalidate(keys: Iterable<Key>): void {
    for (const key of keys) this.#rows.delete(key);
    this.#renewBulk();
  }

  /** Every row may differ now. */
  invalidateAll(): void {
    this.#rows.clear();
    this.#renewBulk();
  }

  /** Objects came, went or were renamed. */
  reorder(): void {
    this.#order = undefined;
    this.#plain = undefined;
    this.#renewBulk();
  }

  /** Its body is built when it is asked for. */
  bulk(): Answer {
    const built = () => this.#builtBulk();
    return {
      etag: `"${this.#series}-${this.#version}"`,
      get body() {
        return built().body;
      },
    };
  }

  #builtBulk(): Answer {
    this.#bulk ??= textAnswer(
      `[${this.#ordered()
        .map(({ key }) => this.#row(key))
        .filter((row) => row !== undefined)
        .join(",")}]`,
    );
    return this.#bulk;
  }

  #renewBulk(): void {
    this.#bulk = undefined;
    this.#version += 1;
  }

  plain(): Answer {
    this.#plain ??= jsonAnswer(this.#ordered().map(({ name }) => this.#source.entry(name)));
    return this.#plain;
  }

  /** One object; undefined when it is gone. */
  one(key: Key): Answer | undefined {
    const row = this.#row(key);
    return row === undefined ? undefined : textAnswer(row);
  }

  #ordered(): ReturnType<RowSource<Key>["order"]> {
    this.#order ??= this.#source.order();
    return this.#order;
  }

  #row(key: Key): string | undefined {
    const kept = this.#rows.get(key);
    if (kept !== undefined) return kept;
    const row = this.#source.row(key);
    if (row === undefined) return undefined;
    const json = JSON.stringify(row);
    this.#rows.set(key, json);
    return json;
  }
}

/** One object that was looked up by its name. @throws HttpError 404 when it was not found */
export function rowAnswer<Key extends string>(rows: RowCache<Key>, found: { readonly uuid: Key } | undefined): Answer {
  const answer = found && rows.one(found.uuid);
  if (answer === undefined) throw notFound();
  return answer;
}
