/**
 * What several steps at once came to, when all of them have ended: an undo must not begin while a step that it is to
 * undo still goes on.
 * @throws what the first of them failed with, in their order
 */
export async function allEnded<const Steps extends readonly unknown[]>(
  steps: Steps,
): Promise<{ -readonly [Index in keyof Steps]: Awaited<Steps[Index]> }> {
  await Promise.allSettled(steps);
  return Promise.all(steps);
}
