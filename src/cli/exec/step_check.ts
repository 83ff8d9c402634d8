/**
 * Whether a step makes sense: its operation, its fields and their forms, before anything is done.
 *
 * Invariant: a field that an operation would not look at is refused, so that a script can never ask for something and
 * silently not get it. Fields that begin with "expect" are for whoever compares the answers and are let through.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { InvalidArgument } from "../../errors.ts";
import { nearest } from "../arguments.ts";
import type { Json, ScriptSettings, Step } from "./step_values.ts";

/** Most bytes that one key or value of a step may stand for. */
export const VALUE_BYTES_MAX: number = 256 * 1024 * 1024;

/**
 * Says what is wrong with a value, to be read behind the name of where it stands; undefined: nothing. What is wrong
 * deeper inside begins with the way there, as `[2].key`.
 */
type Check = (value: Json) => string | undefined;

interface Field {
  readonly check: Check;
  readonly isRequired: boolean;
}

type Fields = Readonly<Record<string, Field>>;

const required = (check: Check): Field => ({ check, isRequired: true });
const optional = (check: Check): Field => ({ check, isRequired: false });

const text: Check = (value) => typeof value === "string" ? undefined : "must be a string";
const flag: Check = (value) => typeof value === "boolean" ? undefined : "must be true or false";
const wholeFrom = (least: number): Check => (value) => {
  if (Number.isSafeInteger(value) && (value as number) >= least) return undefined;
  return least === Number.MIN_SAFE_INTEGER ? "must be a whole number" : `must be a whole number of at least ${least}`;
};
const whole = wholeFrom(Number.MIN_SAFE_INTEGER);
const oneOf = (...choices: readonly string[]): Check => (value) =>
  choices.includes(value as string) ? undefined : `must be one of ${choices.join(", ")}`;
const orNull = (check: Check): Check => (value) => value === null ? undefined : check(value);

function fieldsOf(value: Json): { readonly [name: string]: Json } | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? value as { readonly [name: string]: Json }
    : undefined;
}

const behind = (problem: string): string => /^[.[]/.test(problem) ? problem : ` ${problem}`;

const listOf = (check: Check): Check => (value) => {
  if (!Array.isArray(value)) return "must be a list";
  for (const [at, item] of (value as readonly Json[]).entries()) {
    const problem = check(item);
    if (problem !== undefined) return `[${at}]${behind(problem)}`;
  }
  return undefined;
};

const HEX = /^(?:[0-9a-f]{2})*$/;
const isHex = (value: Json): value is string => typeof value === "string" && HEX.test(value);
const BYTES_FORMS = 'must be a string, {"hex":…}, {"repeat":…,"count":n}, {"repeatHex":…,"count":n} or {"u64le":n}';

const bytes: Check = (value) => {
  if (typeof value === "string") return undefined;
  const form = fieldsOf(value);
  if (form === undefined) return BYTES_FORMS;
  const { count } = form;
  switch (Object.keys(form).sort().join()) {
    case "hex":
      return isHex(form["hex"]!) ? undefined : "is not pairs of lower-case hex digits";
    case "u64le":
      return wholeFrom(0)(form["u64le"]!);
    case "count,repeat":
    case "count,repeatHex": {
      const unit = form["repeat"] ?? form["repeatHex"]!;
      if (typeof unit !== "string" || unit === "") return "must repeat a string that is not empty";
      if (form["repeat"] === undefined && !isHex(unit)) return "is not pairs of lower-case hex digits";
      const problem = wholeFrom(0)(count!);
      if (problem !== undefined) return `.count ${problem}`;
      const size = form["repeat"] === undefined ? unit.length / 2 : Buffer.byteLength(unit);
      return size * (count as number) > VALUE_BYTES_MAX ? `must not exceed ${VALUE_BYTES_MAX} bytes` : undefined;
    }
    default:
      return BYTES_FORMS;
  }
};

const ttl: Check = (value) => {
  if (value === "default" || value === "none") return undefined;
  const form = fieldsOf(value);
  const [name, ...more] = Object.keys(form ?? {});
  if ((name !== "after" && name !== "at") || more.length > 0) {
    return 'must be "default", "none", {"after":ms} or {"at":ms}';
  }
  return whole(form![name]!);
};

const pair: Check = (value) =>
  Array.isArray(value) && value.length === 2 ? bytes(value[0]) ?? bytes(value[1]) : "must be [key, value]";

/** Pairs that one list may stand for. */
const PAIRS_MAX = 1_000_000;
const RUN_FIELDS: Fields = {
  from: required(whole),
  count: required((value) => wholeFrom(1)(value) ?? ((value as number) > PAIRS_MAX ? "is too large" : undefined)),
  step: optional(whole),
  kv: required(pair),
};

/** What is wrong with the counter of a loop or a run: beyond the safe integers two of its numbers may be the same. */
function counterProblem({ from, count, step = 1 }: { readonly [name: string]: Json }): string | undefined {
  const way = ((count as number) - 1) * (step as number);
  return Number.isSafeInteger(way) && Number.isSafeInteger((from as number) + way)
    ? undefined
    : "counts beyond 2^53 - 1: choose from, count and step so that every number lies within";
}

const pairs: Check = listOf((value) => {
  const run = fieldsOf(value);
  return run === undefined ? pair(value) : checkFields(run, RUN_FIELDS, "") ?? counterProblem(run);
});

const SETTINGS: Fields = {
  flushIntervalMs: optional(orNull(wholeFrom(0))),
  walEnabled: optional(flag),
  defaultTtlMs: optional(orNull(wholeFrom(0))),
  l0SstSizeBytes: optional(wholeFrom(1)),
  rangeDeletes: optional(oneOf("native", "expand")),
};
const settings: Check = (value) => {
  const given = fieldsOf(value);
  return given === undefined ? "must be an object" : checkFields(given, SETTINGS, "");
};

/** Steps of a list, which may be those of `known` only. */
const steps = (known: () => Readonly<Record<string, Fields>>, where: string): Check =>
  listOf((value) => {
    const step = fieldsOf(value);
    return step === undefined ? "must be an object" : stepProblem(step, known(), where);
  });

const ON = { on: optional(text) };
const AS = { as: required(text) };
const WRITE = { ...ON, awaitDurable: optional(flag) };
const ROW = { ...WRITE, key: required(bytes), value: required(bytes), ttl: optional(ttl) };
const RANGE = {
  ...ON,
  from: optional(bytes),
  to: optional(bytes),
  fromInclusive: optional(flag),
  toInclusive: optional(flag),
  prefix: optional(bytes),
  order: optional(oneOf("ascending", "descending")),
  durability: optional(oneOf("memory", "remote")),
};
/** The operations of a batch. */
const BATCHED: Readonly<Record<string, Fields>> = {
  put: { key: required(bytes), value: required(bytes), ttl: optional(ttl) },
  merge: { key: required(bytes), value: required(bytes), ttl: optional(ttl) },
  delete: { key: required(bytes) },
  deleteRange: { from: required(bytes), to: required(bytes) },
};

/** The fields of every operation. */
const STEPS: Readonly<Record<string, Fields>> = {
  each: {
    from: required(whole),
    count: required(wholeFrom(1)),
    step: optional(whole),
    do: required(steps(() => LOOPED, " in a loop")),
  },
  open: { as: optional(text), settings: optional(settings), memtableBytes: optional(wholeFrom(1)) },
  close: ON,
  crash: { ...ON, at: optional(oneOf("afterTableUploadBeforeManifest", "afterCompactionUploadBeforeManifest")) },
  put: ROW,
  merge: ROW,
  delete: { ...WRITE, key: required(bytes) },
  deleteRange: { ...WRITE, from: required(bytes), to: required(bytes) },
  write: { ...WRITE, ops: required(steps(() => BATCHED, " in a batch")) },
  get: { ...ON, key: required(bytes), durability: optional(oneOf("memory", "remote")) },
  getKeyValue: { ...ON, key: required(bytes) },
  scan: { ...RANGE, limit: optional(wholeFrom(1)) },
  iter: { ...RANGE, ...AS },
  next: ON,
  seek: { ...ON, key: required(bytes) },
  snapshot: { ...ON, ...AS },
  release: ON,
  begin: { ...ON, ...AS, isolation: optional(oneOf("snapshot", "serializable")) },
  commit: { ...ON, awaitDurable: optional(flag) },
  rollback: ON,
  markRead: { ...ON, keys: required(listOf(bytes)) },
  unmarkWrite: { ...ON, keys: required(listOf(bytes)) },
  flush: { ...ON, kind: optional(oneOf("wal", "memtable")) },
  compact: { ...ON, kind: optional(oneOf("major", "minor", "tombstone")) },
  gc: ON,
  advance: { ms: required(wholeFrom(0)) },
  setClock: { ms: required(whole) },
  openReader: { ...AS, checkpoint: optional(text), skipWalReplay: optional(flag) },
  poll: ON,
  checkpoint: { ...ON, ...AS, scope: optional(oneOf("all", "durable")) },
  status: ON,
  plant: { kind: required(oneOf("orphanTable", "tempObject")), entries: optional(pairs) },
  storeCheck: {
    minTables: optional(wholeFrom(0)),
    noTempObjects: optional(flag),
    allReferencedExist: optional(flag),
    unreferencedTables: optional(wholeFrom(0)),
    remember: optional(text),
    fewerTablesThan: optional(text),
  },
};

/** The operations of a loop: loops do not nest. */
const { each: _, ...LOOPED } = STEPS;

/** Names of the operations. */
export const OPERATION_NAMES: readonly string[] = Object.keys(STEPS);

const isExpectation = (name: string): boolean => name.startsWith("expect");

function checkFields(given: { readonly [name: string]: Json }, known: Fields, ignored: string): string | undefined {
  for (const [name, value] of Object.entries(given)) {
    if (name === ignored || (ignored !== "" && isExpectation(name))) continue;
    if (!Object.hasOwn(known, name)) {
      return `has the unknown field "${name.slice(0, 40)}"; known are ${Object.keys(known).join(", ") || "none"}`;
    }
    const problem = known[name]!.check(value);
    if (problem !== undefined) return `.${name}${behind(problem)}`;
  }
  for (const [name, { isRequired }] of Object.entries(known)) {
    if (isRequired && !Object.hasOwn(given, name)) return `lacks "${name}"`;
  }
  return undefined;
}

/** What is wrong with a step; undefined: nothing. */
function stepProblem(
  step: { readonly [name: string]: Json },
  operations: Readonly<Record<string, Fields>>,
  where: string = "",
): string | undefined {
  const { op } = step;
  if (typeof op !== "string") return 'lacks "op", the name of an operation';
  if (!Object.hasOwn(operations, op)) {
    const near = nearest(op.slice(0, 40), Object.keys(operations));
    return `has the unknown operation "${op.slice(0, 40)}"${where}; ${
      near === undefined ? `known are ${Object.keys(operations).join(", ")}` : `did you mean ${near}?`
    }`;
  }
  return checkFields(step, operations[op]!, "op") ?? (op === "each" ? counterProblem(step) : undefined);
}

/** Checks a step. @throws InvalidArgument reason "step" */
export function checkStep(value: Json): Step {
  const step = fieldsOf(value);
  const problem = step === undefined ? "is no JSON object" : stepProblem(step, STEPS);
  if (problem !== undefined) throw refused(problem, step?.["op"]);
  return step as Step;
}

/** Reads and checks the step in a line. @throws InvalidArgument reason "step" */
export function parseStep(line: Uint8Array): Step {
  let value: Json;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(line)) as Json;
  } catch (error) {
    throw refused(`is no JSON: ${(error as Error).message}`);
  }
  return checkStep(value);
}

/** Reads settings in JSON. @throws InvalidArgument reason "step" */
export function parseSettings(json: string): ScriptSettings {
  let value: Json;
  try {
    value = JSON.parse(json) as Json;
  } catch (error) {
    throw badSettings(`is no JSON: ${(error as Error).message}`);
  }
  const problem = settings(value);
  if (problem !== undefined) throw badSettings(problem);
  return value as ScriptSettings;
}

function refused(problem: string, op?: Json): InvalidArgument {
  const what = typeof op === "string" && Object.hasOwn(STEPS, op) ? op : "it";
  return new InvalidArgument({ reason: "step", message: `Cannot run the step: ${what}${behind(problem)}` });
}

function badSettings(problem: string): InvalidArgument {
  return new InvalidArgument({ reason: "step", message: `settings${behind(problem)}` });
}
