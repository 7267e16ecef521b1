/** The order of what is told of guests by different ways: the stream of live state, and answers of operations. */

/**
 * When something was so, in milliseconds since the machine booted: comparable between all processes of one boot, and
 * never set back.
 */
export function asOfNow(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1000 + nanoseconds / 1e6;
}

/** An answer of a step that is given again after the machine has booted anew is older than all that was seen since. */
export function ofThisBoot<Answer extends { readonly asOfMs: number }>(answer: Answer): Answer {
  return answer.asOfMs > asOfNow() ? { ...answer, asOfMs: BOOT_MS } : answer;
}

/** Not 0, which is what an agent that does not tell would send. */
const BOOT_MS = 1;
