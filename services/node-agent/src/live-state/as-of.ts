/** The order of what is told of guests by different ways: the stream of live state, and answers of operations. */

/**
 * When something was so, in milliseconds since the machine booted: comparable between all processes of one boot, and
 * never set back.
 */
export function asOfNow(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1000 + nanoseconds / 1e6;
}
