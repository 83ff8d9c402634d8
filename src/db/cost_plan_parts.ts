/**
 * The parts of a plan: what each activity asks of the stores in a stretch of time, with the formula in words.
 *
 * Figures are averages and may be fractions. All of them are of `seconds` of the workload going on; what readers ask in
 * other hours is added where the parts are put together.
 *
 * @module
 */
import type { StoreUsage, Usage } from "./cost_api.ts";
import type { LogWorld } from "./cost_plan_log.ts";
import { manifestLooks } from "./cost_plan_log.ts";
import type { TableOutcome } from "./cost_plan_tables.ts";
import type { ResolvedPlan } from "./cost_plan_settings.ts";
import { NO_USAGE } from "./price_sheets.ts";

/** Names of a page of a listing. */
const NAMES_PER_PAGE = 1000;
/** Part of the collector's interval that chance adds, on average. */
const JITTER = 0.05;
/** Life of the checkpoint that a compaction leaves behind, s. */
const SOURCES_LIFETIME_SECONDS = 900;
/** Passes because of ages are so far apart, s. */
const SPACING_SECONDS = 60;
/** Objects of the log up to this size are read before they are deleted, bytes. */
const LOOKED_INTO_BYTES = 256;
/** Chance that a filter lets a key pass that is not there, at 10 bits; each bit less makes it 1.6 times as much. */
const FALSE_POSITIVES = 0.0082;
/** Bytes of a scan's first request, and the most of a later one. */
const FIRST_WINDOW_BYTES = 32 * 1024;
const LAST_WINDOW_BYTES = 2 * 1024 * 1024;
/** About the bytes of a manifest: those of an empty one, and of each table besides its first and last key. */
const MANIFEST_BYTES = 300;
const MANIFEST_TABLE_BYTES = 110;

/** A part before it is priced. */
export interface RawPart {
  readonly name: string;
  readonly formula: string;
  readonly usage: Usage;
}

/** What is known when parts are made. */
export interface PartWorld {
  readonly plan: ResolvedPlan;
  /** How long the workload goes on, s. */
  readonly seconds: number;
  /** Rows really written in that time. */
  readonly rows: number;
  /** Objects of the log in that time, and their mean size. */
  readonly walPuts: number;
  readonly walObjectBytes: number;
  readonly tables: TableOutcome;
}

const round = (value: number): string => {
  if (value === 0) return "0";
  const text = value >= 100 ? Math.round(value).toString() : Number(value.toPrecision(3)).toString();
  return text.replace(/^\d+/, (digits) => digits.replace(/\B(?=(?:\d{3})+$)/g, ","));
};

const usageOf = (usage: Partial<StoreUsage>): Usage => ({ main: { ...NO_USAGE, ...usage } });

/** Mean size of a version of the manifest. */
export function manifestBytes({ plan, tables }: PartWorld): number {
  // Without a compactor tables only become more: half of them are there on average.
  const named = plan.compactor === undefined ? tables.liveTables / 2 : tables.liveTables;
  return MANIFEST_BYTES + named * (MANIFEST_TABLE_BYTES + 2 * plan.keyBytes);
}

/** The log. */
export function logPart(world: PartWorld): RawPart {
  const { plan, walPuts, walObjectBytes, rows, seconds } = world;
  const usage: StoreUsage = { ...NO_USAGE, puts: walPuts, bytesWritten: walPuts * walObjectBytes };
  return {
    name: "log",
    formula: walPuts === 0
      ? "no log"
      : `${round(walPuts / seconds)} objects a second with ${round(rows / walPuts)} rows, ${
        round(walObjectBytes)
      } bytes ` +
        "each: 1 PUT per object",
    usage: plan.wal === "apart" ? { main: NO_USAGE, wal: usage } : { main: usage },
  };
}

/** Memtables that become tables. */
export function flushPart(world: PartWorld): RawPart {
  const { costs: { flushes, flushPuts, flushBytes } } = world.tables;
  return {
    name: "flush",
    formula: `${round(flushes)} tables of ${round(flushes === 0 ? 0 : flushBytes / flushes)} bytes, PUTs per table: ` +
      round(flushes === 0 ? 0 : flushPuts / flushes),
    usage: usageOf({ puts: flushPuts, bytesWritten: flushBytes }),
  };
}

/** Merging tables. */
export function compactionPart({ tables: { costs } }: PartWorld): RawPart {
  const { jobs, merges, made, mergePuts, mergeGets, mergeBytesRead, mergeBytesWritten } = costs;
  return {
    name: "compaction",
    formula:
      `${round(jobs)} compactions, ${round(merges)} of which merge: ${round(mergeGets)} GETs of their sources, ` +
      `${round(mergePuts)} PUTs of ${round(made)} tables`,
    usage: usageOf({
      puts: mergePuts,
      gets: mergeGets,
      bytesRead: mergeBytesRead,
      bytesWritten: mergeBytesWritten,
    }),
  };
}

/** Versions of the manifest and of the compactions object, and looks for newer ones. */
export function manifestPart(world: PartWorld, log: LogWorld | undefined, periodMillis: number): RawPart {
  const { tables: { costs: { flushes, jobs, merges } }, seconds } = world;
  const looks = log === undefined ? undefined : manifestLooks(log, periodMillis);
  const count = (looks?.perMilli ?? 0) * seconds * 1000;
  const lists = looks?.isList === true ? count : 0;
  // The end of a compaction and the beginning of the next are recorded together where one follows the other.
  const records = merges * 1.8;
  return {
    name: "manifest",
    formula:
      `1 PUT per table of L0 (${round(flushes)}) and per compaction (${round(jobs)}), 1.8 of the journal per merge ` +
      `(${round(merges)}); ${round(count)} ${lists > 0 ? "LISTs" : "GETs"} that look for another writer`,
    usage: usageOf({
      puts: flushes + jobs + records + lists,
      gets: count - lists,
      bytesWritten: (flushes + jobs) * manifestBytes(world) + records * MANIFEST_BYTES,
    }),
  };
}

/** Collecting what is not needed any more. */
export function collectionPart(world: PartWorld): RawPart {
  const { plan: { garbageCollector }, seconds, walPuts, walObjectBytes, tables: { costs, liveTables } } = world;
  const { flushes, jobs, made } = costs;
  if (garbageCollector === undefined || flushes + jobs === 0) {
    return { name: "collection", formula: "no passes", usage: usageOf({}) };
  }
  const interval = garbageCollector.intervalMillis / 1000 * (1 + JITTER);
  const age = garbageCollector.minAgeMillis / 1000;
  const perPass = Math.min(interval, SPACING_SECONDS);
  // After the last change of the manifest: a pass at once, one a minute while things come of age, one for checkpoints.
  const perChange = 1 + Math.ceil(age / Math.max(1, perPass)) + (jobs > 0 ? 1 : 0);
  const passes = Math.min(seconds / interval, flushes * perChange);
  const between = seconds / Math.max(passes, 1e-9);
  const objects = walPuts / seconds * (age + between / 2 + seconds / Math.max(1, flushes) / 2);
  const pages = 3 + Math.max(1, Math.ceil(objects / NAMES_PER_PAGE)) + Math.floor(liveTables / NAMES_PER_PAGE);
  const withCheckpoints = jobs === 0 ? 0 : Math.min(passes, seconds / SOURCES_LIFETIME_SECONDS, jobs);
  const looked = walObjectBytes <= LOOKED_INTO_BYTES ? walPuts : 0;
  const lists = passes * (pages + (jobs > 0 ? 1 : 0));
  return {
    name: "collection",
    formula:
      `${round(passes)} passes, each with ${round(pages + 1)} LISTs and 3 GETs; ${round(withCheckpoints)} PUTs that ` +
      `end checkpoints; a version read per compaction; deletions are free`,
    usage: usageOf({
      puts: lists + withCheckpoints,
      gets: passes * 3 + Math.min(jobs, passes * 8) + looked,
      free: (walPuts + made + flushes + (flushes + jobs) * 2) * Math.max(0, 1 - (age + between / 2) / seconds),
      bytesRead: Math.min(jobs, passes * 8) * manifestBytes(world) + looked * walObjectBytes,
    }),
  };
}

/** Point reads. */
export function readPart(world: PartWorld, hitRatio: number): RawPart {
  const { plan, seconds, tables: { costs, sources } } = world;
  const reads = plan.pointReadsPerSecond * seconds;
  if (reads === 0) return { name: "point reads", formula: "none", usage: usageOf({}) };
  const bits = plan.filterBitsPerKey;
  const passing = bits === 0 ? 1 : Math.min(1, FALSE_POSITIVES * 1.6 ** (10 - bits));
  const misses = reads * (1 - hitRatio);
  const perMiss = 1 + Math.max(0, sources - 1) / 2 * passing;
  // Indexes and filters of tables that are new are read once, if anybody reads at all.
  const heads = Math.min(costs.flushes + costs.made, reads);
  const head = plan.sizes.table(plan.rowsPerTable);
  return {
    name: "point reads",
    formula:
      `${round(reads)} reads, ${round((1 - hitRatio) * 100)} % of which ask the store for ${round(perMiss)} blocks ` +
      `(false alarms of filters: ${round(passing * 100)} %); ${round(heads)} GETs of indexes and filters of new tables`,
    usage: usageOf({
      gets: misses * perMiss + heads,
      bytesRead: misses * perMiss * plan.blockSizeBytes + heads * (head.index + head.filter),
    }),
  };
}

/** Scans. */
export function scanPart({ plan, seconds, tables: { sources } }: PartWorld): RawPart {
  const scans = plan.scansPerSecond * seconds;
  if (scans === 0) return { name: "scans", formula: "none", usage: usageOf({}) };
  const from = Math.max(1, sources);
  const perSource = plan.rowsPerScan / from * (plan.sizes.table(10_000).data / 10_000);
  let requests = 1;
  let window = Math.max(FIRST_WINDOW_BYTES, plan.blockSizeBytes);
  let read = window;
  for (; read < perSource && window < LAST_WINDOW_BYTES; requests++) {
    window = Math.min(LAST_WINDOW_BYTES, window * 2);
    read += window;
  }
  const more = Math.max(0, Math.ceil((perSource - read) / window));
  requests += more;
  read += more * window;
  return {
    name: "scans",
    formula:
      `${round(scans)} scans of ${round(plan.rowsPerScan)} rows from ${
        round(from)
      } tables and runs, ${requests} GETs ` +
      "each",
    usage: usageOf({ gets: scans * from * requests, bytesRead: scans * from * read }),
  };
}
