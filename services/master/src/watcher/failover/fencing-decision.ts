/**
 * Whether the instances of a node that does not answer may be started elsewhere: only when it is proven that none of its
 * guests runs. Silence proves nothing. Pure.
 */

/** What stands between a node and being switched off. `failed` is tried again after a while. */
export type PowerOff = "impossible" | "possible" | "under way" | "off" | "failed";

export interface NodeEvidence {
  /** For how long it has not answered; undefined: it does. */
  readonly silentMs: number | undefined;
  /** Milliseconds until it has stopped its guests by itself for certain, 0 when it has; undefined: it does not guard itself. */
  readonly fencesInMs: number | undefined;
  /** By its out-of-band program. `off` was answered since it fell silent. */
  readonly power: PowerOff;
}

export interface Bounds {
  /** How long a node may be silent. */
  readonly afterMs: number;
  /** Of the nodes that are not marked offline, how many are silent. */
  readonly silentNodes: number;
  readonly nodes: number;
}

export type Decision =
  | { readonly kind: "nothing" }
  | { readonly kind: "wait"; readonly reason: string }
  | { readonly kind: "power off" }
  /** @property proof - in words, for the reason trail */
  | { readonly kind: "fail over"; readonly proof: string };

export function decideOn({ silentMs, fencesInMs, power }: NodeEvidence, bounds: Bounds): Decision {
  if (silentMs === undefined) return { kind: "nothing" };
  if (silentMs < bounds.afterMs) return wait(`it has not answered for ${seconds(silentMs)}`);
  // Then it is more likely this master that is cut off, and the others could not take the instances anyway.
  if (bounds.silentNodes * 2 > bounds.nodes)
    return wait(`it does not answer, nor do most nodes (${bounds.silentNodes} of ${bounds.nodes})`);
  if (fencesInMs === 0)
    return { kind: "fail over", proof: "it has stopped its guests by itself, its lease being over" };
  if (power === "off") return { kind: "fail over", proof: "its power is off, as its out-of-band program confirms" };
  if (power === "possible") return { kind: "power off" };
  if (power === "under way") return wait("it does not answer and is being powered off");
  if (fencesInMs !== undefined)
    return wait(`it does not answer; ${seconds(fencesInMs)} until it has stopped its guests by itself`);
  return wait(
    power === "failed"
      ? "it does not answer and could not be powered off; tried again"
      : "it does not answer, and nothing proves that its guests do not run: it has no out-of-band program and does not guard itself",
  );
}

function wait(reason: string): Decision {
  return { kind: "wait", reason };
}

function seconds(ms: number): string {
  return `${Math.ceil(ms / 1000)} s`;
}
