import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { splitQuotedWords } from "../../../src/hypervisors/kvm/quoted-words.ts";

describe("splitQuotedWords", () => {
  it.each([
    ["", []],
    ["  \t\n", []],
    [" -device  virtio-rng-pci ", ["-device", "virtio-rng-pci"]],
    ["a'b c'd", ["ab cd"]],
    ["''", [""]],
    [`"" x`, ["", "x"]],
    [`'it'\\''s'`, ["it's"]],
    [`"a \\" b \\\\ c \\n"`, [`a " b \\ c \\n`]],
    [`a\\ b`, ["a b"]],
    [`'$HOME' "\\$HOME" \`id\` ; | && >x *`, ["$HOME", "$HOME", "`id`", ";", "|", "&&", ">x", "*"]],
  ])("%j", (text, words) => {
    expect(splitQuotedWords(text)).toEqual(words);
  });

  it.each([`'open`, `"open`, `"open\\"`, `end\\`])("%j is refused", (text) => {
    expect(() => splitQuotedWords(text)).toThrow(/quote is not closed/);
  });

  it("gives back any words that were put in single quotes", () => {
    fc.assert(
      fc.property(fc.array(fc.string()), (words) => {
        const text = words.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(" ");
        expect(splitQuotedWords(text)).toEqual(words);
      }),
    );
  });
});
