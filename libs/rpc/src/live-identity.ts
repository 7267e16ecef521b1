/** What one side of a connection shows and trusts, while it changes. */

/** PEM; what `loadIdentity` of @gannet/pki reads. */
export interface TlsIdentity {
  readonly ca: Buffer;
  readonly cert: Buffer;
  readonly key: Buffer;
}

/**
 * An identity that is renewed while it is used: what is set counts for connections from then on, and those that are open
 * go on, so that no call fails. Revoked certificates are refused at once, on open connections too.
 */
export class LiveIdentity {
  readonly #listeners = new Set<() => void>();
  #identity: TlsIdentity;
  #revoked: ReadonlySet<string>;
  #retired: string | undefined;

  /** @param revoked - serial numbers of certificates that are not accepted any more, in hexadecimal digits */
  constructor(identity: TlsIdentity, revoked: Iterable<string> = []) {
    this.#identity = identity;
    this.#revoked = upperCase(revoked);
  }

  /** For those who have one that never changes. */
  static of(identity: TlsIdentity | LiveIdentity): LiveIdentity {
    return identity instanceof LiveIdentity ? identity : new LiveIdentity(identity);
  }

  get identity(): TlsIdentity {
    return this.#identity;
  }

  /** Serial numbers, in upper-case hexadecimal digits. */
  get revoked(): ReadonlySet<string> {
    return this.#revoked;
  }

  /** Why this side answers nobody any more. */
  get retired(): string | undefined {
    return this.#retired;
  }

  change(identity: TlsIdentity): void {
    this.#identity = identity;
    for (const listener of this.#listeners) listener();
  }

  revoke(serials: Iterable<string>): void {
    this.#revoked = upperCase(serials);
  }

  /** Refuse every call from now on. */
  retire(reason: string): void {
    this.#retired = reason;
  }

  /** Told after each {@link LiveIdentity.change}. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

function upperCase(serials: Iterable<string>): ReadonlySet<string> {
  return new Set([...serials].map((serial) => serial.toUpperCase()));
}
