/**
 * What a stored database costs: what is there, what opening it asks, and what reads of it ask, measured cold.
 *
 * Invariants: nothing is written. The reader that measures follows, without a checkpoint.
 *
 * @module
 */
import { openReader } from "../db/promise_reader.ts";
import type { DbReader } from "../db/admin_api.ts";
import type { CostReport, OpenCostReport } from "../db/api.ts";
import { costReport } from "../db/cost.ts";
import type { PricedUsage } from "../db/cost_api.ts";
import { COMPACTED_DIR, COMPACTIONS_DIR, folderPath, MANIFEST_DIR, WAL_DIR } from "../format/paths.ts";
import type { Manifest, SstView } from "../format/types.ts";
import { listAll } from "../store/list_all.ts";
import type { CommandContext } from "./command.ts";
import { StoredObjects } from "./inspect.ts";
import { mergeOperatorNamed } from "./merge_operators.ts";
import type { Place } from "./places.ts";

/** Rows of the scan that is measured. */
const SCAN_ROWS = 100;

/** What lies in one folder. */
export interface FolderSize {
  readonly name: string;
  readonly objects: number;
  readonly bytes: number;
}

/** What reads ask that nothing in memory helps with. */
export interface ColdSample {
  /** Keys read, all of them there. */
  readonly reads: number;
  /** Requests and dollars of a million of them. */
  readonly perMillionGets: PricedUsage | undefined;
  /** Rows of the one scan. */
  readonly scanRows: number;
  /** Requests and dollars of a million of it. */
  readonly perMillionScans: PricedUsage | undefined;
}

/** What was found. */
export interface CostSurvey {
  readonly folders: readonly FolderSize[];
  /** What opening a reader that follows asked. */
  readonly opening: PricedUsage;
  /** What a month of rest costs such a reader. */
  readonly follower: PricedUsage;
  readonly sample: ColdSample | undefined;
  /** Everything this survey asked. */
  readonly asked: CostReport;
}

/** Looks at a database. Fails when there is none. */
export async function survey(context: CommandContext, place: Place, sample: number | undefined): Promise<CostSurvey> {
  const objects = new StoredObjects(context.runtime, place);
  const { manifest } = await objects.newest();
  const folders: FolderSize[] = [];
  for (const name of [MANIFEST_DIR, WAL_DIR, COMPACTED_DIR, COMPACTIONS_DIR]) {
    folders.push(await folderSize(objects, name));
  }
  const open = () => follower(context, place);
  const reports: OpenCostReport[] = [];
  const done = async (reader: DbReader): Promise<OpenCostReport> => {
    const report = reader.cost();
    reports.push(report);
    await reader.close();
    return report;
  };
  const keys = sample === undefined ? [] : await pickKeys(await open(), manifest, sample, done);
  const reader = await open();
  for (const key of keys) await reader.get(key);
  const scanned = sample === undefined ? 0 : (await reader.scan({}, { limit: SCAN_ROWS }).toArray()).length;
  const { opening, perMonthIdle, perMillion } = await done(reader);
  return {
    folders,
    opening,
    follower: perMonthIdle,
    sample: sample === undefined ? undefined : {
      reads: keys.length,
      perMillionGets: perMillion.gets,
      scanRows: scanned,
      perMillionScans: perMillion.scans,
    },
    asked: costReport([objects.cost(), ...reports]),
  };
}

function follower({ args }: CommandContext, place: Place): Promise<DbReader> {
  const mergeOperator = mergeOperatorNamed(args.text("merge"));
  return openReader({ store: place.store, path: place.root }, {
    mode: "follow",
    blockCacheBytes: 0,
    ...(place.walStore === undefined ? {} : { wal: { store: place.walStore } }),
    ...(mergeOperator === undefined ? {} : { mergeOperator }),
  });
}

async function folderSize(objects: StoredObjects, name: string): Promise<FolderSize> {
  let [count, bytes] = [0, 0];
  const store = name === WAL_DIR ? objects.walStore : objects.store;
  await objects.run(listAll(store, folderPath(objects.root, name), undefined, ({ size }) => {
    count++;
    bytes += size;
  }));
  return { name, objects: count, bytes };
}

/** Keys that are there, spread over the tables by their sizes; over all rows when there are no tables. */
async function pickKeys(
  scout: DbReader,
  manifest: Manifest,
  wanted: number,
  done: (reader: DbReader) => Promise<unknown>,
): Promise<Uint8Array[]> {
  const tables = [...manifest.l0, ...manifest.compacted.flatMap(({ ssts }) => ssts)];
  const keys: Uint8Array[] = [];
  if (tables.length === 0) {
    for (const { key } of await scout.scan({}, { limit: wanted }).toArray()) keys.push(key);
  }
  for (let i = 0; i < wanted && tables.length > 0; i++) {
    const gte = keyWithin(tables, (i + 0.5) / wanted);
    const [row] = await scout.scan({ gte }, { limit: 1 }).toArray();
    if (row !== undefined) keys.push(row.key);
  }
  await done(scout);
  return keys;
}

/** A key at `fraction` of the way through all tables, as far as their first and last keys tell. */
export function keyWithin(tables: ReadonlyArray<SstView>, fraction: number): Uint8Array {
  const total = tables.reduce((sum, { info }) => sum + info.indexOffset, 0);
  let left = fraction * total;
  const at = tables.findIndex(({ info }) => (left -= info.indexOffset) < 0);
  const view = tables[at < 0 ? tables.length - 1 : at]!;
  const { indexOffset, firstEntry = new Uint8Array(0), lastEntry = firstEntry } = view.info;
  return between(firstEntry, lastEntry, indexOffset === 0 ? 0 : 1 + Math.min(0, left) / indexOffset);
}

/** Bytes that decide where a key lies between two others. */
const DECISIVE_BYTES = 6;

function between(first: Uint8Array, last: Uint8Array, fraction: number): Uint8Array {
  let common = 0;
  while (common < first.length && common < last.length && first[common] === last[common]) common++;
  const numberOf = (key: Uint8Array): number => {
    let number = 0;
    for (let i = 0; i < DECISIVE_BYTES; i++) number = number * 256 + (key[common + i] ?? 0);
    return number;
  };
  const [from, to] = [numberOf(first), numberOf(last)];
  let number = Math.floor(from + Math.max(0, to - from) * fraction);
  const key = new Uint8Array(common + DECISIVE_BYTES);
  key.set(first.subarray(0, common));
  for (let i = DECISIVE_BYTES - 1; i >= 0; i--) {
    key[common + i] = number % 256;
    number = Math.floor(number / 256);
  }
  return key;
}
