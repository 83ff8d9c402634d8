/**
 * Pebble's datadriven files: their blocks, what `cases.json` decides about each, and how one is executed.
 *
 * A file is a sequence of blocks: a command line, input lines up to `----`, expected output up to a blank line (or, when
 * the output has blank lines, between two pairs of `----`). Blocks run in order and share state, which lives in a
 * {@linkcode PebbleSession}.
 *
 * Comparison rules: a `run` block's answer is exactly the expected text. An `adapt` block's answer may instead be a pair:
 * what was made of our answer and what was made of the expected text by the adaptation that its `why` describes. A
 * `setup` block is executed, its answer ignored; it fails only by throwing. A `skip` block is not executed.
 *
 * @module
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";

/** What `cases.json` decides about a block. */
export type PebbleStatus = "setup" | "run" | "adapt" | "skip";

/** A block's decision. */
export interface PebbleCase {
  /** Line of the block's command, from 1. */
  readonly line: number;
  readonly command: string;
  readonly status: PebbleStatus;
  /** How an `adapt` block is adapted; what a `skip` block would need. */
  readonly why?: string;
}

/** Longer texts are not shown whole. */
const LINES_SHOWN = 24;

/** One argument of a command line: `key`, `key=value` or `key=(value, value)`. */
export interface PebbleArgument {
  readonly key: string;
  /** Empty for a bare key. */
  readonly values: ReadonlyArray<string>;
}

/** One block of a file. */
export interface PebbleBlock {
  readonly file: string;
  /** Line of the command, from 1. */
  readonly line: number;
  /** The whole command line. */
  readonly command: string;
  /** First word of the command line. */
  readonly name: string;
  readonly args: ReadonlyArray<PebbleArgument>;
  /** Input lines as they stand, indentation included. */
  readonly input: ReadonlyArray<string>;
  /** Expected output, lines joined by line feeds, none at the end. */
  readonly expected: string;
}

/** Two texts that an adaptation made comparable. */
export interface AdaptedAnswer {
  readonly ours: string;
  readonly theirs: string;
}

/** What a handler answers: the output, or for `adapt` blocks a pair. */
export type PebbleAnswer = string | AdaptedAnswer;

/** Executes a block. Throws when it can not. */
export type PebbleHandler = (block: PebbleBlock) => PebbleAnswer | Promise<PebbleAnswer>;

/** The commands of one file with the state that its blocks share. */
export interface PebbleSession {
  readonly commands: Readonly<Record<string, PebbleHandler>>;
  /** Takes from expected text what the description of the file says is to be dropped everywhere, `run` blocks included. */
  readonly drop?: (expected: string) => string;
  /** Told of a block that is not executed, where later blocks rest on what it would have changed. */
  readonly skipped?: (block: PebbleBlock) => void | Promise<void>;
  /** Called after the last block. */
  readonly close?: () => void | Promise<void>;
}

/** By file name: begins a run through the file. */
export type PebbleHandlers = Readonly<Record<string, () => PebbleSession | Promise<PebbleSession>>>;

/** A block that was executed. */
export interface PebbleResult {
  readonly block: PebbleBlock;
  readonly status: Exclude<PebbleStatus, "skip">;
  /** What is wrong; undefined when nothing is. */
  readonly failure: string | undefined;
}

/** The value of `key=value`; undefined when it is not there. */
export function valueOf(block: PebbleBlock, key: string): string | undefined {
  return block.args.find((argument) => argument.key === key)?.values[0];
}

/** The values of `key=(v1, v2)` or of one or several `key=value`. */
export function valuesOf(block: PebbleBlock, key: string): ReadonlyArray<string> {
  return block.args.filter((argument) => argument.key === key).flatMap(({ values }) => values);
}

/** Whether a bare `key` or `key=…` is there. */
export function hasArgument(block: PebbleBlock, key: string): boolean {
  return block.args.some((argument) => argument.key === key);
}

/** Reads the blocks of a file. */
export function parsePebbleFile(file: string, text: string): PebbleBlock[] {
  const lines = text.split("\n");
  if (lines.at(-1) === "") lines.pop();
  const blocks: PebbleBlock[] = [];
  for (let at = 0; at < lines.length;) {
    const command = lines[at]!.trim();
    if (command === "" || command.startsWith("#")) {
      at++;
      continue;
    }
    const line = at + 1;
    const input: string[] = [];
    for (at++; at < lines.length && lines[at] !== "----"; at++) input.push(lines[at]!);
    if (at === lines.length) throw new Error(`${file}:${line}: the block has no ----`);
    at++;
    const isWrapped = lines[at] === "----";
    const expected: string[] = [];
    if (isWrapped) {
      for (at++; !(lines[at] === "----" && lines[at + 1] === "----"); at++) {
        if (at >= lines.length) throw new Error(`${file}:${line}: the wrapped output does not end`);
        expected.push(lines[at]!);
      }
      at += 2;
    } else {
      for (; at < lines.length && lines[at]!.trim() !== ""; at++) expected.push(lines[at]!);
    }
    const [name, ...rest] = splitArguments(command);
    blocks.push({
      file,
      line,
      command,
      name: name!,
      args: rest.map(parseArgument),
      input,
      expected: expected.join("\n"),
    });
  }
  return blocks;
}

/** The decisions of `cases.json`, by file. */
export function readPebbleCases(text: string): ReadonlyMap<string, ReadonlyArray<PebbleCase>> {
  const { files } = JSON.parse(text) as { files: Record<string, { cases: PebbleCase[]; counts: Counts }> };
  const all = new Map<string, ReadonlyArray<PebbleCase>>();
  for (const [file, { cases, counts }] of Object.entries(files)) {
    for (const status of STATUSES) {
      const found = cases.filter((one) => one.status === status).length;
      if (found !== (counts[status] ?? 0)) {
        throw new Error(`cases.json counts ${counts[status] ?? 0} ${status} blocks of ${file} and lists ${found}`);
      }
    }
    all.set(file, cases);
  }
  return all;
}

/** All statuses. */
export const STATUSES: ReadonlyArray<PebbleStatus> = ["setup", "run", "adapt", "skip"];

/** How many blocks of a file have each status. */
export type Counts = Readonly<Partial<Record<PebbleStatus, number>>>;

/** The table "Files and counts" of the README of the test data. */
export function readPebbleCounts(
  readme: string,
): ReadonlyMap<string, Readonly<Record<"blocks" | PebbleStatus, number>>> {
  const counts = new Map<string, Record<"blocks" | PebbleStatus, number>>();
  const row = /^\| `([^`]+)` \| (\d+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \| \d+ \|$/gm;
  for (const [, file, ...numbers] of readme.matchAll(row)) {
    const [blocks, setup, run, adapt, skip] = numbers.map(Number) as [number, number, number, number, number];
    counts.set(file!, { blocks, setup, run, adapt, skip });
  }
  return counts;
}

/** A file of the folder: its blocks. */
export function readPebbleFile(folder: string, file: string): PebbleBlock[] {
  return parsePebbleFile(file, readFileSync(join(folder, file), "utf8"));
}

/** Runs all blocks of a file that are not skipped, in order. */
export async function runPebbleFile(
  blocks: ReadonlyArray<PebbleBlock>,
  cases: ReadonlyArray<PebbleCase>,
  begin: PebbleHandlers[string] | undefined,
): Promise<PebbleResult[]> {
  const decisions = new Map(cases.map((one) => [one.line, one]));
  const results: PebbleResult[] = [];
  const session = await begin?.();
  for (const block of blocks) {
    const decision = decisions.get(block.line);
    if (decision?.status === "skip") {
      await session?.skipped?.(block);
      continue;
    }
    const status = decision?.status ?? "run";
    const failure = decision === undefined
      ? "cases.json says nothing about it"
      : decision.command !== block.command
      ? `cases.json has another command: ${decision.command}`
      : await failureOf(block, status, session);
    results.push({ block, status, failure });
  }
  await session?.close?.();
  return results;
}

async function failureOf(
  block: PebbleBlock,
  status: Exclude<PebbleStatus, "skip">,
  session: PebbleSession | undefined,
): Promise<string | undefined> {
  const handler = session?.commands[block.name];
  if (handler === undefined) return `nothing executes "${block.name}" here`;
  let answer: PebbleAnswer;
  try {
    answer = await handler(block);
  } catch (error) {
    return `it failed: ${error instanceof Error ? error.stack : String(error)}`;
  }
  if (status === "setup") return undefined;
  if (status === "run" && typeof answer !== "string") return "a run block is compared as it is, not adapted";
  const drop = session?.drop ?? ((expected: string) => expected);
  const { ours, theirs } = typeof answer === "string" ? { ours: answer, theirs: drop(block.expected) } : answer;
  return ours === theirs ? undefined : difference(ours.split("\n"), theirs.split("\n"));
}

/** Both texts, or of long ones the lines that differ. */
function difference(ours: ReadonlyArray<string>, theirs: ReadonlyArray<string>): string {
  if (Math.max(ours.length, theirs.length) <= LINES_SHOWN) {
    return `expected:\n${theirs.join("\n")}\ngot:\n${ours.join("\n")}`;
  }
  const missing = theirs.filter((line) => !ours.includes(line)).slice(0, LINES_SHOWN);
  const extra = ours.filter((line) => !theirs.includes(line)).slice(0, LINES_SHOWN);
  return `expected and missing:\n${missing.join("\n")}\ngot and not expected:\n${extra.join("\n")}`;
}

/** Splits at spaces outside brackets and quotes. */
function splitArguments(command: string): string[] {
  const words: string[] = [];
  let word = "";
  let depth = 0;
  let isQuoted = false;
  for (const char of command) {
    if (char === '"') isQuoted = !isQuoted;
    if (!isQuoted && char === "(") depth++;
    if (!isQuoted && char === ")") depth--;
    if (char === " " && depth === 0 && !isQuoted) {
      if (word !== "") words.push(word);
      word = "";
    } else word += char;
  }
  return word === "" ? words : [...words, word];
}

function parseArgument(word: string): PebbleArgument {
  const at = word.indexOf("=");
  if (at < 0) return { key: word, values: [] };
  const [key, value] = [word.slice(0, at), word.slice(at + 1)];
  if (!value.startsWith("(") || !value.endsWith(")")) return { key, values: [value] };
  return { key, values: value.slice(1, -1).split(",").map((one) => one.trim()) };
}
