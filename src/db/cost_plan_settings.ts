/**
 * Checks what a plan is made from, and fills in defaults: settings by the rules of `open`, workloads and sheets by those
 * here. What passes is planned in bounded time and memory, and comes to finite figures.
 *
 * @module
 */
import { Schema } from "effect";
import { InvalidArgument } from "../errors.ts";
import type { ResolvedCompactor } from "./compactor_options.ts";
import type { PriceSheet } from "./cost_api.ts";
import type { PlanReader, PlanSettings, PlanWorkload } from "./cost_plan_api.ts";
import { RowSizes } from "./cost_plan_sizes.ts";
import type { ResolvedGc } from "./gc_options.ts";
import { type OpenOptions, resolveOptions } from "./options.ts";
import { type ResolvedReaderOptions, resolveReaderOptions } from "./reader_options.ts";

const SETTINGS: ReadonlySet<string> = new Set<keyof PlanSettings>([
  "flushIntervalMillis",
  "maxWalPutsPerSecond",
  "l0SstSizeBytes",
  "manifestPollIntervalMillis",
  "idlePollMillis",
  "minFilterKeys",
  "filterBitsPerKey",
  "blockSizeBytes",
  "blockCacheBytes",
  "compactor",
  "garbageCollector",
  "wal",
]);
/** Rows, reads and so on per second, at most. */
const RATE_MAX = 1e9;
/** And at least, unless there are none. */
const RATE_MIN = 1e-9;
const COUNT_MAX = Number.MAX_SAFE_INTEGER;
const ROWS_PER_SCAN_MAX = 1e12;
/** Bytes of rows that are there already: a pebibyte. */
const EXISTING_BYTES_MAX = 2 ** 50;
/** Bytes of rows written in a second: a tebibyte. */
const BYTES_PER_SECOND_MAX = 2 ** 40;
const PRICE_MAX = 1e6;

const number = (minimum: number, maximum: number) =>
  Schema.optional(Schema.Finite.check(Schema.isBetween({ minimum, maximum })));
const whole = (minimum: number, maximum: number) =>
  Schema.optional(Schema.Int.check(Schema.isBetween({ minimum, maximum })));
const rate = (maximum: number) =>
  Schema.Finite.check(
    Schema.makeFilter((value: number) =>
      value === 0 || (value >= RATE_MIN && value <= maximum) ||
      `Expected 0 or a value between ${RATE_MIN} and ${maximum}`
    ),
  );

const WorkloadSchema = Schema.Struct({
  rowsPerSecond: rate(RATE_MAX),
  rowsPerWrite: number(1, RATE_MAX),
  keyBytes: whole(1, 65_535),
  valueBytes: whole(0, 512 * 1024 * 1024),
  compressionRatio: number(0.001, 1),
  durable: Schema.optional(Schema.Boolean),
  writers: whole(1, COUNT_MAX),
  putLatencyMillis: number(0, 3_600_000),
  keys: Schema.optional(Schema.Literals(["random", "ascending"])),
  distinctKeys: whole(1, COUNT_MAX),
  existingRows: whole(0, COUNT_MAX),
  pointReadsPerSecond: Schema.optional(rate(RATE_MAX)),
  cacheHitRatio: number(0, 1),
  scansPerSecond: Schema.optional(rate(RATE_MAX)),
  rowsPerScan: number(1, ROWS_PER_SCAN_MAX),
  hoursPerDay: Schema.optional(rate(24)),
  readers: Schema.optional(Schema.Array(Schema.Struct({
    mode: Schema.optional(Schema.Literals(["managed", "follow"])),
    manifestPollIntervalMillis: whole(1, COUNT_MAX),
    checkpointLifetimeMillis: whole(1, COUNT_MAX),
    skipWalReplay: Schema.optional(Schema.Boolean),
    count: whole(1, COUNT_MAX),
  }))),
});
const decodeWorkload = Schema.decodeUnknownSync(WorkloadSchema);

/** A plan's settings and workload with every default filled in. */
export interface ResolvedPlan extends Required<Omit<PlanWorkload, "cacheHitRatio" | "readers" | "keys">> {
  readonly isAscending: boolean;
  readonly cacheHitRatio: number | undefined;
  readonly readers: ReadonlyArray<{ readonly options: ResolvedReaderOptions; readonly count: number }>;
  readonly wal: boolean | "apart";
  readonly flushIntervalMillis: number;
  readonly maxWalPutsPerSecond: number;
  readonly l0SstSizeBytes: number;
  readonly manifestPollIntervalMillis: number;
  readonly idlePollMillis: number;
  readonly filterBitsPerKey: number;
  readonly blockSizeBytes: number;
  readonly blockCacheBytes: number;
  readonly compactor: ResolvedCompactor | undefined;
  readonly garbageCollector: ResolvedGc | undefined;
  readonly sizes: RowSizes;
  readonly rowsPerTable: number;
}

/** Checks and completes. @throws InvalidArgument reason "options" with the name of the field */
export function resolvePlan(settings: PlanSettings, workload: PlanWorkload): ResolvedPlan {
  const { wal = true, ...rest } = checkedSettings(settings);
  const options = resolved(() => resolveOptions(rest as OpenOptions));
  const given = checkedWorkload(workload);
  const { keyBytes = 16, valueBytes = 100, compressionRatio = 1, keys = "random", readers = [] } = given;
  const { rowsPerSecond, existingRows = 0 } = given;
  checkBytes("existingRows", existingRows, keyBytes + valueBytes, EXISTING_BYTES_MAX);
  checkBytes("rowsPerSecond", rowsPerSecond, keyBytes + valueBytes, BYTES_PER_SECOND_MAX);
  const isAscending = keys === "ascending";
  const { blockSizeBytes, minFilterKeys, filterBitsPerKey, l0SstSizeBytes } = options;
  const sizes = new RowSizes({
    keyBytes,
    valueBytes,
    isAscending,
    compressionRatio,
    blockSizeBytes,
    minFilterKeys,
    filterBitsPerKey,
  });
  return {
    ...options,
    rowsPerSecond,
    rowsPerWrite: given.rowsPerWrite ?? 1,
    keyBytes,
    valueBytes,
    compressionRatio,
    durable: given.durable ?? true,
    writers: given.writers ?? Infinity,
    putLatencyMillis: given.putLatencyMillis ?? 30,
    isAscending,
    distinctKeys: given.distinctKeys ?? Infinity,
    existingRows,
    pointReadsPerSecond: given.pointReadsPerSecond ?? 0,
    cacheHitRatio: given.cacheHitRatio,
    scansPerSecond: given.scansPerSecond ?? 0,
    rowsPerScan: given.rowsPerScan ?? 100,
    hoursPerDay: given.hoursPerDay ?? 24,
    readers: readers.map(({ count = 1, ...reader }) => ({
      options: resolved(() => resolveReaderOptions(reader as PlanReader)),
      count,
    })),
    wal,
    sizes,
    rowsPerTable: Math.max(1, l0SstSizeBytes / sizes.memtableRowBytes),
  };
}

function checkBytes(field: string, rows: number, rowBytes: number, maximum: number): void {
  if (rows * rowBytes <= maximum) return;
  throw refused(
    `workload: ${field} is ${rows}, each of ${rowBytes} bytes (keyBytes + valueBytes); at most ` +
      `${Math.floor(maximum / rowBytes)} of that size, ${maximum} bytes together`,
  );
}

const price = Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: PRICE_MAX }));
const decodeSheets = Schema.decodeUnknownSync(Schema.Array(Schema.Struct({
  name: Schema.String.check(Schema.isMinLength(1)),
  source: Schema.String,
  putPer1000: price,
  getPer1000: price,
  uploadPerGb: Schema.optional(price),
  downloadPerGb: Schema.optional(price),
  storagePerGbMonth: Schema.optional(price),
  bytesPerGb: Schema.optional(Schema.Finite.check(Schema.isBetween({ minimum: 1, maximum: COUNT_MAX }))),
})));

/** Checks price sheets. @throws InvalidArgument reason "options" with the sheet and the field */
export function checkSheets(sheets: readonly PriceSheet[]): void {
  try {
    decodeSheets(sheets);
  } catch (error) {
    throw refused(`sheets: ${textOf(error)}`, error);
  }
  const names = sheets.map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) < i);
  if (twice !== undefined) throw refused(`sheets: two of them have the name "${twice}"; give each its own`);
}

function checkedSettings(settings: PlanSettings): PlanSettings {
  if (typeof settings !== "object" || settings === null) throw refused("settings: give an object of settings");
  const unknown = Object.keys(settings).filter((name) => !SETTINGS.has(name));
  if (unknown.length > 0) {
    throw refused(
      `unknown setting${unknown.length > 1 ? "s" : ""} ${unknown.join(", ")}; known are ${[...SETTINGS].join(", ")}`,
    );
  }
  const { wal } = settings;
  if (wal !== undefined && typeof wal !== "boolean" && wal !== "apart") {
    throw refused('wal: give true, false, or "apart" for a store of its own');
  }
  return settings;
}

function checkedWorkload(workload: PlanWorkload): typeof WorkloadSchema.Type {
  if (typeof workload !== "object" || workload === null) throw refused("workload: give an object with rowsPerSecond");
  const known = Object.keys(WorkloadSchema.fields);
  const unknown = Object.keys(workload).filter((name) => !known.includes(name));
  if (unknown.length > 0) {
    throw refused(
      `unknown field${unknown.length > 1 ? "s" : ""} ${unknown.join(", ")} of the workload; known are ${
        known.join(", ")
      }`,
    );
  }
  try {
    return decodeWorkload(workload, { onExcessProperty: "error" });
  } catch (error) {
    throw refused(`workload: ${textOf(error)}`, error);
  }
}

/** A setting that `open` or `openReader` would refuse is refused here in its words. */
function resolved<A>(resolve: () => A): A {
  try {
    return resolve();
  } catch (error) {
    if (!(error instanceof InvalidArgument)) throw error;
    throw refused(error.message.replace(/^Cannot open(?: the reader)?: options?:? /, ""), error);
  }
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message.replaceAll(/\s*\n\s*/g, " ") : String(error);
}

function refused(what: string, cause?: unknown): InvalidArgument {
  return new InvalidArgument({
    reason: "options",
    message: `Cannot plan: ${what}`,
    ...(cause === undefined ? {} : { cause }),
  });
}
