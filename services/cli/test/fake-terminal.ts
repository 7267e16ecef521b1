/** A terminal that remembers. */
import type { Terminal } from "../src/terminal.ts";

export function fakeTerminal(more: Partial<Terminal> = {}) {
  const lines: string[] = [];
  const notes: string[] = [];
  const overwritten: string[] = [];
  const questions: string[] = [];
  const answers: string[] = [];
  const ask = async (question: string) => {
    questions.push(question);
    return answers.shift() ?? "";
  };
  const terminal: Terminal = {
    out: (text) => void lines.push(...text.split("\n")),
    note: (text) => void notes.push(text),
    overwrite: (text) => void overwritten.push(text),
    isLive: false,
    isInteractive: false,
    columns: 80,
    ask,
    askSecret: ask,
    ...more,
  };
  return { terminal, lines, notes, overwritten, questions, answers };
}
