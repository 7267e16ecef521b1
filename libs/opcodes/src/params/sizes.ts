/** Sizes of memory and disks, as fields of opcodes. */
import { parseSizeMib, SIZE_TEXT } from "@gannet/objects";
import { z } from "zod";

function sizeOf({ minMib, error }: { readonly minMib: number; readonly error: string }) {
  return z.union([z.int().min(minMib), z.string().regex(SIZE_TEXT)], { error }).transform((given, ctx) => {
    const sizeMib = parseSizeMib(given);
    if (sizeMib !== undefined && sizeMib >= minMib) return sizeMib;
    ctx.addIssue({ code: "custom", message: error });
    return z.NEVER;
  });
}

/** A size in MiB. */
export const size = sizeOf({
  minMib: 0,
  error: 'must be a size: whole MiB, or text with a unit m, g or t such as "1.5g"',
});
/** A size in MiB above zero. */
export const positiveSize = sizeOf({
  minMib: 1,
  error: 'must be a size above zero: whole MiB, or text with a unit m, g or t such as "1.5g"',
});
