/** One answer for all who ask the same question at about the same time. */

interface Search<Answer> {
  readonly answer: Promise<Answer>;
  readonly abandoned: AbortController;
  waiting: number;
}

/**
 * Whoever asks while none is being found out, or while an older one is, gets the answer that is sought next: it never
 * shows a state from before the question. A search is given up when nobody waits for it any more.
 */
export function shareAnswer<Answer>(
  find: (signal: AbortSignal) => Promise<Answer>,
): (signal: AbortSignal) => Promise<Answer> {
  let last: Promise<unknown> = Promise.resolve();
  let next: Search<Answer> | undefined;

  function prepare(): Search<Answer> {
    const abandoned = new AbortController();
    const answer = last.then(nextTurn).then(() => {
      if (next === search) next = undefined;
      abandoned.signal.throwIfAborted();
      return find(abandoned.signal);
    });
    last = answer.catch(() => {});
    const search: Search<Answer> = { answer, abandoned, waiting: 0 };
    return search;
  }

  function leave(search: Search<Answer>): void {
    search.waiting -= 1;
    if (search.waiting > 0) return;
    if (next === search) next = undefined;
    search.abandoned.abort(new Error("nobody waits for the answer any more"));
  }

  return async (signal) => {
    signal.throwIfAborted();
    next ??= prepare();
    const search = next;
    search.waiting += 1;
    const aborted = Promise.withResolvers<never>();
    const abort = () => aborted.reject(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    try {
      return await Promise.race([search.answer, aborted.promise]);
    } finally {
      signal.removeEventListener("abort", abort);
      leave(search);
    }
  };
}

/** All who ask in one turn of the event loop are answered together. */
function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
