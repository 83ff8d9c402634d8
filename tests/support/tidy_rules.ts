/**
 * The rules that the code keeps about itself, as functions from files to findings.
 *
 * Each rule is pure (texts in, findings out), so that a bad sample can be fed to it; `tests/tidy_test.ts` does that and
 * then runs all of them over the repository. Exceptions stand in one table, each with its reason.
 *
 * @module
 */
import { functionsOf, importsOf, lineAt, readSource, type SourceText } from "./source_text.ts";

/** The files under judgement: repository path with `/` to source text. */
export type Files = ReadonlyMap<string, SourceText>;

/** One breach of a rule. */
export interface Finding {
  readonly path: string;
  /** 1-based; 0 stands for the whole file. */
  readonly line: number;
  readonly what: string;
}

/** A breach that is meant. */
export interface Exception {
  /** Path, or the start of one when it ends in `/`. */
  readonly path: string;
  /** What of the rule does not hold there; for banned names the name. */
  readonly what: string;
  readonly reason: string;
}

/** A file has fewer lines than this. */
export const FILE_LINES_MAX = 400;
/** A function has fewer lines than this. */
export const FUNCTION_LINES_MAX = 70;

/** Builds the files from plain texts. */
export function filesOf(texts: Readonly<Record<string, string>>): Files {
  return new Map(Object.entries(texts).map(([path, text]) => [path, readSource(text)]));
}

/** Whether `path` belongs to the product. */
export function isProduct(path: string): boolean {
  return path === "mod.ts" || path.startsWith("src/") || path.startsWith("tasks/");
}

const ROOMS: ReadonlyArray<readonly [prefix: string, rank: number]> = [
  ["src/errors.ts", 0],
  ["src/bytes/", 0],
  ["src/format/", 1],
  ["src/env/", 2],
  ["src/store/", 3],
  ["src/lsm/", 4],
  ["src/state/", 5],
  ["tasks/", 6],
  ["src/db/", 7],
  ["mod.ts", 8],
  ["src/s3.ts", 8],
  ["src/testing.ts", 8],
  ["src/testing/", 8],
  ["src/cli/", 8],
  ["tests/", 9],
  ["bench/", 9],
];

/** Types that every room may name: the vocabulary of the doors. */
const VOCABULARY = "src/db/api.ts";

/** The only files of `src/db` that bring actors to life. */
const COMPOSITION_ROOTS = [
  "src/db/open.ts",
  "src/db/reader.ts",
  "src/db/admin.ts",
  "src/db/compaction.ts",
  "src/db/collection.ts",
  "src/db/standalone_compactor.ts",
];

/** Rank of a file in the house, or undefined when it lies in no room. */
function rankOf(path: string): number | undefined {
  return ROOMS.find(([prefix]) => prefix.endsWith("/") ? path.startsWith(prefix) : path === prefix)?.[1];
}

/** The repository path that `specifier` names in `from`, or undefined for a package. */
function resolveImport(from: string, specifier: string): string | undefined {
  if (!specifier.startsWith(".")) return undefined;
  const parts = from.split("/").slice(0, -1);
  for (const part of specifier.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== ".") parts.push(part);
  }
  return parts.join("/");
}

/** Imports go down the ranks or stay in their room; actors are imported by the composition roots alone. */
export function checkRanks(files: Files): Finding[] {
  const findings: Finding[] = [];
  for (const [path, source] of files) {
    if (!isProduct(path)) continue;
    const rank = rankOf(path);
    if (rank === undefined) {
      findings.push({ path, line: 0, what: "lies in no room of the house" });
      continue;
    }
    for (const { specifier, typeOnly, line } of importsOf(source)) {
      const target = resolveImport(path, specifier);
      const found = target === undefined
        ? checkPackage(path, rank, specifier)
        : checkRoom(path, rank, target, typeOnly, files);
      if (found !== undefined) findings.push({ path, line, what: found });
    }
  }
  return findings;
}

function checkRoom(path: string, rank: number, target: string, typeOnly: boolean, files: Files): string | undefined {
  if (!files.has(target)) return undefined;
  if (target === VOCABULARY && typeOnly) return undefined;
  const targetRank = rankOf(target);
  if (targetRank === undefined || targetRank > rank) return `imports ${target}, which is above it`;
  const startsActors = targetRank === 6 && rank > 6 && !typeOnly;
  if (startsActors && !COMPOSITION_ROOTS.includes(path)) return `imports ${target}: only ${COMPOSITION_ROOTS} may`;
  return undefined;
}

function checkPackage(path: string, rank: number, specifier: string): string | undefined {
  if (specifier.startsWith("node:")) {
    return specifier === "node:test" || specifier.startsWith("node:assert") ? `imports ${specifier}` : undefined;
  }
  if (specifier === "flatbuffers") return rank === 1 ? undefined : "imports flatbuffers outside src/format";
  if (specifier === "@aws-sdk/client-s3") {
    return path === "src/store/s3_store.ts" || path.startsWith("src/store/s3/") ? undefined : "imports the AWS SDK";
  }
  if (specifier === "effect" || specifier.startsWith("effect/")) {
    return rank === 1 || path.startsWith("src/bytes/") ? "imports effect into a plain room" : undefined;
  }
  return `imports the package ${specifier}, which the engine does not depend on`;
}

/** Files and functions stay short. */
export function checkSizes(files: Files): Finding[] {
  const findings: Finding[] = [];
  for (const [path, source] of files) {
    if (!isProduct(path)) continue;
    const lines = source.raw.trimEnd().split("\n").length;
    if (lines >= FILE_LINES_MAX) findings.push({ path, line: 0, what: `has ${lines} lines` });
    for (const { name, line, lines } of functionsOf(source)) {
      if (lines >= FUNCTION_LINES_MAX) findings.push({ path, line, what: `${name} has ${lines} lines` });
    }
  }
  return findings;
}

/** A name that may not be used, and where the ban holds. */
interface Ban {
  readonly name: string;
  readonly pattern: RegExp;
  readonly where: (path: string) => boolean;
}

const inEngine = (path: string) => isProduct(path);
// A method may bear such a name: a call is never followed by a body.
const word = (name: string) =>
  new RegExp(`(?<![\\w$.])${name.replaceAll(".", "\\s*\\.\\s*")}(?![\\w$]|\\([^()]*\\)(?::[^{;]*)? \\{)`, "g");
const everywhere = () => true;

const BANS: readonly Ban[] = [
  ...[
    "Date.now",
    "new Date",
    "Math.random",
    "setTimeout",
    "setInterval",
    "setImmediate",
    "queueMicrotask",
    "crypto.randomUUID",
    "crypto.getRandomValues",
    "performance.now",
    "process.hrtime",
    "process.nextTick",
    "globalThis.setTimeout",
  ].map((name) => ({ name, pattern: word(name), where: inEngine })),
  { name: "Deno", pattern: /(?<![\w$.])Deno\s*\./g, where: inEngine },
  { name: "Bun", pattern: /(?<![\w$.])Bun\s*\./g, where: inEngine },
  { name: "console", pattern: /(?<![\w$.])console\s*\./g, where: inEngine },
  {
    name: "Effect.fork",
    pattern: /\bEffect\s*\.\s*fork\w*/g,
    where: (path) => isProduct(path) && !path.startsWith("tasks/") && !path.startsWith("src/db/"),
  },
  { name: "Effect.run", pattern: /\bEffect\s*\.\s*run\w+/g, where: inEngine },
  { name: "Effect.fn", pattern: /\bEffect\s*\.\s*fn\s*\(/g, where: inEngine },
  { name: "as any", pattern: /\bas\s+any\b/g, where: everywhere },
  { name: "enum", pattern: /^\s*(?:export\s+)?(?:declare\s+)?(?:const\s+)?enum\s+\w/gm, where: everywhere },
  { name: "namespace", pattern: /^\s*(?:export\s+)?(?:declare\s+)?namespace\s+\w/gm, where: everywhere },
  {
    name: "parameter property",
    pattern: /\bconstructor\s*\((?:[^)]*,)?\s*(?:(?:private|public|protected|readonly)\s+)+[\w$]+\s*\??\s*:/g,
    where: everywhere,
  },
  { name: ".only", pattern: /\b(?:it|test|describe)\s*\.\s*only\b|\bonly\s*:\s*true\b/g, where: everywhere },
];

/** Names that would bring in ambient time, chance, timers or untyped values. */
export function checkBannedNames(files: Files, exceptions: readonly Exception[]): Finding[] {
  const findings: Finding[] = [];
  for (const [path, { code }] of files) {
    for (const { name, pattern, where } of BANS) {
      if (!where(path) || isExcepted(path, name, exceptions)) continue;
      for (const match of code.matchAll(pattern)) {
        findings.push({ path, line: lineAt(code, match.index), what: `uses ${name}` });
      }
    }
  }
  return findings;
}

function isExcepted(path: string, what: string, exceptions: readonly Exception[]): boolean {
  return exceptions.some((exception) =>
    exception.what === what &&
    (exception.path.endsWith("/") ? path.startsWith(exception.path) : path === exception.path)
  );
}

/** Exceptions that nothing needs any more. */
export function checkExceptions(files: Files, exceptions: readonly Exception[]): Finding[] {
  return exceptions.filter((exception) => {
    const others = exceptions.filter((other) => other !== exception);
    const without = checkBannedNames(files, others);
    return !without.some((finding) => isExcepted(finding.path, finding.what.slice("uses ".length), [exception]));
  }).map(({ path, what }) => ({ path, line: 0, what: `is excepted from "${what}" without need` }));
}

// Spelled in two halves, so that this file passes its own rule.
const LEFTOVERS = new RegExp(`\\b(?:${["TO" + "DO", "FIX" + "ME", "X" + "XX", "HA" + "CK"].join("|")})\\b`, "g");

/** Notes that were to be dealt with before the commit. */
export function checkLeftovers(files: Files): Finding[] {
  const findings: Finding[] = [];
  for (const [path, { raw }] of files) {
    for (const match of raw.matchAll(LEFTOVERS)) {
      findings.push({ path, line: lineAt(raw, match.index), what: `holds the word ${match[0]}` });
    }
  }
  return findings;
}

/** `@internal` begins its line: behind a sentence it is text, and what it is to hide is documented as public. */
export function checkInternalTags(files: Files): Finding[] {
  const findings: Finding[] = [];
  for (const [path, { raw }] of files) {
    if (!isProduct(path)) continue;
    for (const match of raw.matchAll(/^[ \t]*(?:\/\*\*|\*)[^\n]*\w[^\n]*@internal/gm)) {
      findings.push({ path, line: lineAt(raw, match.index), what: "has @internal behind a text" });
    }
  }
  return findings;
}

/** Every file says at its top what it is for; a test file may leave that to its name. */
export function checkHeaders(files: Files): Finding[] {
  return [...files].filter(([path, { raw }]) =>
    !path.endsWith("_test.ts") && !/^(?:#![^\n]*\n)?\/\*\*[\s\S]*?@module\b[\s\S]*?\*\//.test(raw)
  )
    .map(([path]) => ({ path, line: 1, what: "has no module header" }));
}

/** File names are lower case with underscores, and never a drawer for everything. */
export function checkNames(files: Files): Finding[] {
  const drawers = /(?:^|\/)(?:utils?|helpers?|common|misc|managers?|\w+_(?:utils?|helpers?|manager))(?:\.ts|\/)/;
  return [...files.keys()].filter((path) => drawers.test(path) || !/^[a-z0-9_./-]+$/.test(path))
    .map((path) => ({ path, line: 0, what: "is no name for a file here" }));
}

/**
 * Files that nothing reaches: product files must be reached from a door, all others from a door, a test or a task.
 *
 * @param doors entry points of the product
 * @param programs files that `deno task` starts; test files are entry points by their name
 */
export function checkReachable(files: Files, doors: readonly string[], programs: readonly string[]): Finding[] {
  const reach = (roots: readonly string[]) => {
    const seen = new Set(roots);
    for (const path of seen) {
      for (const { specifier } of importsOf(files.get(path) ?? readSource(""))) {
        const target = resolveImport(path, specifier);
        if (target !== undefined && files.has(target)) seen.add(target);
      }
    }
    return seen;
  };
  const product = reach(doors);
  const tests = [...files.keys()].filter((path) => path.endsWith("_test.ts"));
  const all = reach([...doors, ...programs, ...tests]);
  return [...files.keys()].filter((path) => !(isProduct(path) ? product : all).has(path))
    .map((path) => ({ path, line: 0, what: "is reached from nowhere" }));
}
