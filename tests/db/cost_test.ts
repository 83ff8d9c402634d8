/**
 * What sustained ingest, a trickle and rest cost in store requests, counted exactly.
 *
 * The counts to compare with are those of SlateDB 0.12.1 with 256 MB of user data: 2.55 PUT-class requests per MB and
 * 4.60 bytes written per user byte with rows of 116 bytes, tables of 16 MiB and 4.2 MB/s; 0.35 and 3.11 with rows of
 * 1 KiB, tables of 64 MiB and 40 MB/s. Here everything (data, table sizes, rate) is a sixteenth of that, which leaves the
 * number of log objects, tables and compactions as it is; only no table is so large that it goes up in parts. Counts are
 * therefore per 256 MB of the full size; `bench/cost_bench.ts` counts the full size.
 */
import { open } from "../../mod.ts";
import { type Costs, countCosts } from "../../bench/cost_workload.ts";
import type { Db } from "../../src/db/api.ts";
import type { CompactorOptions } from "../../src/db/compactor_options.ts";
import type { OpenOptions } from "../../src/db/options.ts";
import { virtualClock } from "../../src/env/virtual_clock.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import { assert, describe, it } from "../support/suite.ts";

const SCALE = 16;
const MIB = 1024 * 1024;
const MEGABYTES = 256;
const MINUTE = 60_000;

interface Ingest {
  readonly valueBytes: number;
  readonly megabytesPerSecond: number;
  readonly l0Megabytes: number;
}
const SMALL_ROWS: Ingest = { valueBytes: 100, megabytesPerSecond: 4.2, l0Megabytes: 16 };
const LARGE_ROWS: Ingest = { valueBytes: 1008, megabytesPerSecond: 40, l0Megabytes: 64 };

/** Costs of an ingest at a sixteenth of its size. */
function ingest(
  { valueBytes, megabytesPerSecond, l0Megabytes }: Ingest,
  options: OpenOptions & { readonly compactor?: CompactorOptions } = {},
  isAscending: boolean = false,
): Promise<Costs> {
  return countCosts({
    valueBytes,
    userBytes: MEGABYTES * 1e6 / SCALE,
    bytesPerSecond: megabytesPerSecond * 1e6 / SCALE,
    isAscending,
    options: {
      l0SstSizeBytes: l0Megabytes * MIB / SCALE,
      ...options,
      compactor: { maxSstBytes: 256 * MIB / SCALE, ...options.compactor },
    },
  });
}

let small: Promise<Costs> | undefined = undefined;
let large: Promise<Costs> | undefined = undefined;
/** Rows of 116 bytes with default options; counted once. */
const smallRows = (): Promise<Costs> => small ??= ingest(SMALL_ROWS);
/** Rows of 1 KiB with default options; counted once. */
const largeRows = (): Promise<Costs> => large ??= ingest(LARGE_ROWS);

const amplification = (costs: Costs): number => costs.bytesWritten / costs.userBytes;

function requestsOf(db: Db, kind?: string): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const [component, kinds] of Object.entries(db.cost().requests)) {
    const sum = Object.entries(kinds).reduce(
      (sum, [name, n]) => kind === undefined || name === kind ? sum + n : sum,
      0,
    );
    if (sum > 0) counts[component] = sum;
  }
  return counts;
}

describe("cost of sustained ingest", () => {
  it("K3 rows of 116 bytes cost a log object per window, one per table, and little else", async () => {
    const costs = await smallRows();
    assert.deepEqual(costs.putsOf, { wal: 619, manifest: 25, compactions: 9, tables: 24 });
    assert.equal(costs.puts, 677);
  });

  it("K3 with a window of 250 ms the requests are below 0.6 times SlateDB's", async () => {
    const costs = await ingest(SMALL_ROWS, { flushIntervalMillis: 250 });
    assert.deepEqual(costs.putsOf, { wal: 259, manifest: 25, compactions: 9, tables: 24 });
    assert.ok(costs.puts / MEGABYTES <= 0.6 * 2.55, `${costs.puts / MEGABYTES} per MB`);
  });

  it("K3 with a ceiling of four log objects a second too", async () => {
    const costs = await ingest(SMALL_ROWS, { maxWalPutsPerSecond: 4 });
    assert.ok(costs.puts / MEGABYTES <= 0.6 * 2.55, `${costs.puts / MEGABYTES} per MB`);
  });

  it("K3 rows of 1 KiB cost a log object per window, one per table, and little else", async () => {
    const costs = await largeRows();
    assert.deepEqual(costs.putsOf, { wal: 66, manifest: 6, compactions: 2, tables: 5 });
  });

  it("K4 bytes written per user byte are below SlateDB's, and reads of compactions too", async () => {
    const small = await smallRows();
    assert.ok(amplification(small) <= 4.5, `${amplification(small)} with rows of 116 bytes`);
    assert.ok(small.bytesRead / small.userBytes <= 2.11, `${small.bytesRead / small.userBytes} read`);
    const large = await largeRows();
    assert.ok(amplification(large) <= 3.11, `${amplification(large)} with rows of 1 KiB`);
  });

  it("K4 with a fifth source per compaction they are below 0.9 times SlateDB's", async () => {
    const compactor = { minCompactionSources: 5 };
    const small = await ingest(SMALL_ROWS, { compactor });
    assert.ok(amplification(small) <= 0.9 * 4.6, `${amplification(small)} with rows of 116 bytes`);
    const large = await ingest(LARGE_ROWS, { compactor });
    assert.ok(amplification(large) <= 0.9 * 3.11, `${amplification(large)} with rows of 1 KiB`);
  });

  it("K4 ascending keys are written twice, to the log and to a table that moves from then on", async () => {
    const costs = await ingest(LARGE_ROWS, {}, true);
    assert.ok(amplification(costs) <= 2.1, `${amplification(costs)}`);
    assert.equal(costs.bytesRead, 0);
  });

  it("K10 nothing is listed but the compactions, once, when the first of them begins", async () => {
    assert.deepEqual((await smallRows()).lists, { compactor: 1 });
    assert.deepEqual((await largeRows()).lists, { compactor: 1 });
  });
});

describe("cost of a trickle", () => {
  const trickle = async (everyMillis: number, writes: number) => {
    const clock = virtualClock(1_700_000_000_000);
    const db = await open({ store: memoryStore(), path: "" }, { clock, garbageCollector: false });
    const opened = { all: requestsOf(db), lists: requestsOf(db, "list") };
    for (let i = 0; i < writes; i++) {
      const written = db.put(`key ${i}`, "value");
      await clock.advance(everyMillis);
      await written;
    }
    const [all, lists] = [requestsOf(db), requestsOf(db, "list")];
    await db.close();
    return {
      wal: all["wal"]! - opened.all["wal"]!,
      db: all["db"]! - opened.all["db"]!,
      lists: (lists["db"] ?? 0) + (lists["wal"] ?? 0) - opened.lists["db"]! - opened.lists["wal"]!,
    };
  };

  it("K2 a write is one log object, and a look for a newer manifest at most", async () => {
    assert.deepEqual(await trickle(1000, 600), { wal: 600, db: 199, lists: 0 });
    assert.deepEqual(await trickle(20_000, 60), { wal: 60, db: 59, lists: 0 });
  });

  it("K10 only a write after half a minute of rest costs a listing, which proves that nobody else writes", async () => {
    assert.deepEqual(await trickle(29_000, 60), { wal: 60, db: 59, lists: 0 });
    assert.deepEqual(await trickle(60_000, 60), { wal: 60, db: 59, lists: 59 });
  });
});

describe("cost of rest", () => {
  it("K1 a settled database asks nothing in a minute, nor in an hour", async () => {
    const clock = virtualClock(1_700_000_000_000);
    const db = await open({ store: memoryStore(), path: "" }, { clock, l0SstSizeBytes: 4096, blockSizeBytes: 1024 });
    for (let i = 0; i < 400; i++) {
      await db.put(`key ${i}`, "v".repeat(100), { durable: false });
      if (i % 20 === 19) await clock.advance(1000);
    }
    await clock.advance(30 * MINUTE);
    assert.ok(db.status.l0Count < 4 && db.status.compactorEpoch === 1, "there were compactions");
    const settled = requestsOf(db);
    await clock.advance(MINUTE);
    assert.deepEqual(requestsOf(db), settled);
    for (let i = 0; i < 59; i++) await clock.advance(MINUTE);
    assert.deepEqual(requestsOf(db), settled);
    await db.close();
  });
});
