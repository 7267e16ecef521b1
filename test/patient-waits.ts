/**
 * A wait of a test ends when its condition holds; how long it may take says nothing but how busy the machine is. vitest
 * gives up after one second unless told otherwise, which a machine with more workers than processors does not keep.
 */
import { vi } from "vitest";

const PATIENCE_MS = 20_000;

const { waitFor } = vi;
vi.waitFor = (callback, options) =>
  waitFor(callback, typeof options === "number" ? options : { timeout: PATIENCE_MS, ...options });
