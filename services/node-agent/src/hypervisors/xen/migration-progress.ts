/** What `xl migrate` prints while it sends a guest. */

const PAGE_BYTES = 4096;

export interface SentPages {
  readonly transferredBytes: number;
  readonly totalBytes: number;
}

/**
 * The newest count of the text, which libxc writes as `xc: Frames: 1024/65536   1%`, each over the one before it on a
 * terminal and on a line of its own elsewhere. Undefined when there is none yet.
 */
export function parseProgress(text: string): SentPages | undefined {
  const counts = [...text.matchAll(/Frames[^\d\r\n]*(?:\d+ of \d+[^\d\r\n]*)?(\d+)\/(\d+)/g)];
  const last = counts.at(-1);
  if (last === undefined) return undefined;
  return { transferredBytes: Number(last[1]) * PAGE_BYTES, totalBytes: Number(last[2]) * PAGE_BYTES };
}
