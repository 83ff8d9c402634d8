/**
 * The flags of `cost --plan`, and the settings and workload that they mean.
 *
 * @module
 */
import type { PlanReader, PlanSettings, PlanWorkload } from "../db/cost_plan_api.ts";
import type { Arguments, FlagSpec } from "./arguments.ts";
import { UsageError } from "./usage_error.ts";

const number = (name: string, about: string): FlagSpec => ({ name, kind: "text", value: "NUMBER", about });

/** What is written and read. */
const WORKLOAD_FLAGS: readonly FlagSpec[] = [
  number("rows-per-second", "Rows written a second, on average while there are writes; with --plan"),
  number("rows-per-write", "Rows of a batch; 1 unless given"),
  number("key-bytes", "Length of keys; 16 unless given"),
  number("value-bytes", "Length of values; 100 unless given"),
  { name: "not-awaited", kind: "switch", about: "Nobody waits for writes to be durable (durable: false)" },
  number("writers", "How many wait for their writes at once; as many as it takes unless given"),
  { name: "put-latency", kind: "span", value: "SPAN", about: "How long the store takes for a PUT; 30ms unless given" },
  { name: "keys", kind: "choice", choices: ["random", "ascending"], about: "In which order keys come; random" },
  number("distinct-keys", "Keys that are written over and over; all are new unless given"),
  number("existing-rows", "Rows that are there already"),
  number("reads-per-second", "Point reads a second"),
  number("cache-hit-ratio", "Part of them that memory answers, 0..1; derived from --cache-bytes unless given"),
  number("scans-per-second", "Scans a second"),
  number("rows-per-scan", "Rows of a scan; 100 unless given"),
  number("hours-per-day", "Hours of a day in which all this goes on; 24 unless given"),
  number("readers", "Readers in other processes that follow"),
  { name: "reader-mode", kind: "choice", choices: ["managed", "follow"], about: "How they do; managed" },
  { name: "reader-poll", kind: "span", value: "SPAN", about: "How often they look; 10s unless given" },
];

/** Settings of the database. */
const SETTING_FLAGS: readonly FlagSpec[] = [
  { name: "flush-interval", kind: "span", value: "SPAN", about: "flushIntervalMillis; 100ms unless given" },
  number("max-wal-puts-per-second", "maxWalPutsPerSecond; no ceiling unless given"),
  { name: "wal", kind: "choice", choices: ["on", "off", "apart"], about: "The log: on, off, or in a store of its own" },
  number("l0-bytes", "l0SstSizeBytes; 67108864 unless given"),
  number("cache-bytes", "blockCacheBytes; 268435456 unless given"),
  { name: "idle-poll", kind: "span", value: "SPAN", about: "idlePollMillis; never unless given" },
  {
    name: "compaction",
    kind: "choice",
    choices: ["size-tiered", "leveled", "off"],
    about: "The compactor's scheduler; size-tiered",
  },
  number("min-compaction-sources", "minCompactionSources of the compactor; 4 unless given"),
];

/** All flags that have a meaning with `--plan` alone. */
export const PLAN_FLAGS: readonly FlagSpec[] = [...WORKLOAD_FLAGS, ...SETTING_FLAGS];

/** The number that a flag has; undefined when it is not there. @throws UsageError */
function numberOf(args: Arguments, name: string): number | undefined {
  const text = args.text(name);
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!/^\d+(\.\d+)?(e\d+)?$/i.test(text) || !Number.isFinite(value)) {
    throw new UsageError(`--${name} must be a number of 0 or more, such as 250 or 0.5, not "${text}"`);
  }
  return value;
}

/** `{ [name]: value }`, or nothing where there is no value. */
function given<Name extends string, Value>(name: Name, value: Value | undefined): { [Key in Name]?: Value } {
  return (value === undefined ? {} : { [name]: value }) as { [Key in Name]?: Value };
}

/** The first plan flag that was given, to refuse it where nothing is planned. */
export function planFlagGiven(args: Arguments): string | undefined {
  return PLAN_FLAGS.find(({ name, kind }) =>
    kind === "switch" ? args.on(name) : kind === "span" ? args.count(name) !== undefined : args.text(name) !== undefined
  )?.name;
}

/** The workload that the flags describe. @throws UsageError */
export function workloadOf(args: Arguments): PlanWorkload {
  const rowsPerSecond = numberOf(args, "rows-per-second");
  if (rowsPerSecond === undefined) {
    throw new UsageError("cost --plan needs --rows-per-second: how many rows are written a second, 0 for none");
  }
  const readers = numberOf(args, "readers") ?? 0;
  if (readers === 0 && (args.text("reader-mode") ?? args.count("reader-poll")) !== undefined) {
    throw new UsageError("--reader-mode and --reader-poll describe readers: say how many there are with --readers");
  }
  const reader: PlanReader = {
    count: readers,
    ...given("mode", args.text("reader-mode") as "managed" | "follow" | undefined),
    ...given("manifestPollIntervalMillis", args.count("reader-poll")),
  };
  return {
    rowsPerSecond,
    ...given("rowsPerWrite", numberOf(args, "rows-per-write")),
    ...given("keyBytes", numberOf(args, "key-bytes")),
    ...given("valueBytes", numberOf(args, "value-bytes")),
    durable: !args.on("not-awaited"),
    ...given("writers", numberOf(args, "writers")),
    ...given("putLatencyMillis", args.count("put-latency")),
    ...given("keys", args.text("keys") as PlanWorkload["keys"]),
    ...given("distinctKeys", numberOf(args, "distinct-keys")),
    ...given("existingRows", numberOf(args, "existing-rows")),
    ...given("pointReadsPerSecond", numberOf(args, "reads-per-second")),
    ...given("cacheHitRatio", numberOf(args, "cache-hit-ratio")),
    ...given("scansPerSecond", numberOf(args, "scans-per-second")),
    ...given("rowsPerScan", numberOf(args, "rows-per-scan")),
    ...given("hoursPerDay", numberOf(args, "hours-per-day")),
    readers: readers === 0 ? [] : [reader],
  };
}

/** The settings that the flags describe. @throws UsageError */
export function settingsOf(args: Arguments): PlanSettings {
  const wal = args.text("wal");
  const scheduler = args.text("compaction");
  const sources = numberOf(args, "min-compaction-sources");
  const compactor = scheduler === "off" ? false as const : {
    ...given("scheduler", scheduler as "size-tiered" | "leveled" | undefined),
    ...given("minCompactionSources", sources),
  };
  return {
    ...given("flushIntervalMillis", args.count("flush-interval")),
    ...given("maxWalPutsPerSecond", numberOf(args, "max-wal-puts-per-second")),
    ...given("wal", wal === undefined ? undefined : wal === "apart" ? wal : wal === "on"),
    ...given("l0SstSizeBytes", numberOf(args, "l0-bytes")),
    ...given("blockCacheBytes", numberOf(args, "cache-bytes")),
    ...given("idlePollMillis", args.count("idle-poll")),
    compactor,
  };
}
