/** Splits text into words the way a POSIX shell quotes them (POSIX.1-2017, XCU 2.2), and does nothing else of one. */
import { HypervisorError } from "@gannet/errors";

/** One piece of a word: in single quotes, in double quotes, an escaped character, or plain characters. */
const PIECE = /'([^']*)'|"((?:[^"\\]|\\[\s\S])*)"|\\([\s\S])|([^\s'"\\]+)/y;
const BLANKS = /\s*/y;

/** @throws HypervisorError when a quote is not closed or the text ends in a backslash */
export function splitQuotedWords(text: string): readonly string[] {
  const words: string[] = [];
  let position = skipBlanks(text, 0);
  while (position < text.length) {
    const { word, end } = readWord(text, position);
    words.push(word);
    position = skipBlanks(text, end);
  }
  return words;
}

function readWord(text: string, start: number): { readonly word: string; readonly end: number } {
  let word = "";
  let position = start;
  while (position < text.length && !/\s/.test(text.charAt(position))) {
    PIECE.lastIndex = position;
    const match = PIECE.exec(text);
    if (match === null) throw new HypervisorError(`A quote is not closed in ${JSON.stringify(text)}`);
    const [piece, single, double, escaped, plain] = match;
    word += single ?? double?.replace(/\\([$`"\\\n])/g, "$1") ?? escaped ?? plain ?? "";
    position += piece.length;
  }
  return { word, end: position };
}

function skipBlanks(text: string, position: number): number {
  BLANKS.lastIndex = position;
  return position + (BLANKS.exec(text)?.[0].length ?? 0);
}
