/**
 * The argument parser: what a command takes, said as data, and the checked result.
 *
 * `--name value` and `--name=value` mean the same, `--` ends the flags, `-` alone is a position (standard input).
 * Everything unknown, missing, doubled or malformed is refused with a hint before the command runs.
 *
 * @module
 */
import { parseBytes } from "./bytes_text.ts";
import { UsageError } from "./usage_error.ts";

/** What a flag takes: nothing, any text, a whole number from 1, bytes of a key, one of `choices`, or a time span. */
export type FlagKind = "switch" | "text" | "count" | "bytes" | "choice" | "span";

/** A flag of a command. */
export interface FlagSpec {
  /** Without dashes. */
  readonly name: string;
  readonly kind: FlagKind;
  /** Name of the value in the help text. */
  readonly value?: string;
  readonly choices?: readonly string[];
  readonly about: string;
}

/** An argument known by its place. */
export interface PositionSpec {
  readonly name: string;
  readonly about: string;
  readonly optional?: boolean;
}

/** What a command takes, and what its help says. */
export interface CommandSpec {
  readonly name: string;
  /** One line. */
  readonly summary: string;
  readonly details?: string;
  readonly positions: readonly PositionSpec[];
  readonly flags: readonly FlagSpec[];
  readonly examples?: readonly string[];
  /** Not shown in the list of commands. */
  readonly hidden?: boolean;
}

/** Milliseconds in the units of a time span. */
const SPAN_UNITS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

type FlagValue = string | number | boolean | Uint8Array;

/** Checked arguments of one call. Asking for a flag that the command does not have is a bug, and throws. */
export class Arguments {
  readonly #spec: CommandSpec;
  readonly #positions: readonly string[];
  readonly #flags: ReadonlyMap<string, FlagValue>;

  constructor(spec: CommandSpec, positions: readonly string[], flags: ReadonlyMap<string, FlagValue>) {
    this.#spec = spec;
    this.#positions = positions;
    this.#flags = flags;
  }

  /** A position that must be there. */
  position(name: string): string {
    const value = this.optionalPosition(name);
    if (value === undefined) throw new Error(`position ${name} is optional`);
    return value;
  }

  /** A position, or undefined. */
  optionalPosition(name: string): string | undefined {
    const at = this.#spec.positions.findIndex((position) => position.name === name);
    if (at < 0) throw new Error(`${this.#spec.name} has no position ${name}`);
    return this.#positions[at];
  }

  /** Whether a switch is on. */
  on(name: string): boolean {
    return this.#flag(name, "switch") === true;
  }

  /** The value of a text or choice flag. */
  text(name: string): string | undefined {
    return this.#flag(name, "text", "choice") as string | undefined;
  }

  /** The value of a count, or of a span in ms. */
  count(name: string): number | undefined {
    return this.#flag(name, "count", "span") as number | undefined;
  }

  /** The value of a bytes flag. */
  bytes(name: string): Uint8Array | undefined {
    return this.#flag(name, "bytes") as Uint8Array | undefined;
  }

  #flag(name: string, ...kinds: readonly FlagKind[]): FlagValue | undefined {
    const spec = this.#spec.flags.find((flag) => flag.name === name);
    if (spec === undefined || !kinds.includes(spec.kind)) throw new Error(`${this.#spec.name} has no flag ${name}`);
    return this.#flags.get(name);
  }
}

/** Checks `argv` (what follows the command's name). @throws UsageError */
export function parseArguments(spec: CommandSpec, argv: readonly string[]): Arguments {
  const positions: string[] = [];
  const flags = new Map<string, FlagValue>();
  let flagsEnded = false;
  for (let i = 0; i < argv.length; i++) {
    const argument = argv[i]!;
    if (flagsEnded || argument === "-" || !argument.startsWith("-")) {
      positions.push(argument);
    } else if (argument === "--") {
      flagsEnded = true;
    } else {
      const equals = argument.indexOf("=");
      const flag = flagOf(spec, equals < 0 ? argument : argument.slice(0, equals));
      if (flags.has(flag.name)) throw new UsageError(`--${flag.name} is given twice`);
      if (flag.kind === "switch") {
        if (equals >= 0) throw new UsageError(`--${flag.name} takes no value`);
        flags.set(flag.name, true);
      } else {
        const next = equals >= 0 ? argument.slice(equals + 1) : argv[++i];
        if (next === undefined || (equals < 0 && next.startsWith("--"))) {
          throw new UsageError(`--${flag.name} needs a value: --${flag.name}=${valueName(flag)}`);
        }
        flags.set(flag.name, flagValue(flag, next));
      }
    }
  }
  checkPositions(spec, positions);
  return new Arguments(spec, positions, flags);
}

/** How the help names a flag's value. */
export function valueName(flag: FlagSpec): string {
  return flag.choices?.join("|") ?? flag.value ?? flag.kind.toUpperCase();
}

function flagOf(spec: CommandSpec, given: string): FlagSpec {
  const name = given.replace(/^--?/, "");
  const flag = given.startsWith("--") ? spec.flags.find((candidate) => candidate.name === name) : undefined;
  if (flag !== undefined) return flag;
  const near = nearest(name, spec.flags.map((candidate) => candidate.name));
  const hint = near === undefined ? `"phyllite ${spec.name} --help" lists what there is` : `did you mean --${near}?`;
  throw new UsageError(`${spec.name} has no flag ${given}; ${hint}`);
}

function flagValue(flag: FlagSpec, text: string): FlagValue {
  switch (flag.kind) {
    case "count": {
      const number = Number(text);
      if (!/^\d+$/.test(text) || !Number.isSafeInteger(number) || number < 1) {
        throw new UsageError(`--${flag.name} must be a whole number of at least 1, not "${text}"`);
      }
      return number;
    }
    case "span": {
      const match = /^(\d{1,9})(ms|s|m|h|d)$/.exec(text);
      if (match === null) throw new UsageError(`--${flag.name} must be a time span such as 500ms, 30s, 10m, 12h or 7d`);
      return Number(match[1]) * SPAN_UNITS[match[2]!]!;
    }
    case "choice":
      if (!flag.choices!.includes(text)) {
        throw new UsageError(`--${flag.name} must be one of ${flag.choices!.join(", ")}, not "${text}"`);
      }
      return text;
    case "bytes":
      return parseBytes(text);
    default:
      return text;
  }
}

function checkPositions(spec: CommandSpec, given: readonly string[]): void {
  const missing = spec.positions.find((position, i) => position.optional !== true && given[i] === undefined);
  if (missing !== undefined) throw new UsageError(`${spec.name} needs <${missing.name}>: ${missing.about}`);
  const extra = given[spec.positions.length];
  if (extra !== undefined) throw new UsageError(`${spec.name} does not know what to do with "${extra}"`);
}

/** The candidate that `text` is most likely a misspelling of, or undefined when none is near. */
export function nearest(text: string, candidates: readonly string[]): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.min(Math.max(2, Math.floor(text.length / 3)), text.length - 1) + 1;
  for (const candidate of candidates) {
    const distance = candidate.startsWith(text) && text.length > 1 ? 1 : editDistance(text, candidate);
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** Insertions, deletions and changes between two short texts. */
function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const current = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      current.push(Math.min(change, previous[j]! + 1, current[j - 1]! + 1));
    }
    previous = current;
  }
  return previous[b.length]!;
}
