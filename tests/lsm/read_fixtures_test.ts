/**
 * The read structures over the databases that the official engine wrote: same answers for scans, ranges and gets.
 *
 * Tables through run cursors, rows of the WAL in a memtable; expiry as the official engine has it (not judged on read).
 *
 * @module
 */
import { createHash } from "node:crypto";
import type { Entry } from "../../src/db/api.ts";
import { decodeManifest } from "../../src/format/manifest_codec.ts";
import type { Manifest } from "../../src/format/types.ts";
import { WalRows } from "../../src/format/wal_sst.ts";
import { BlockCache } from "../../src/lsm/block_cache.ts";
import { FULL_RANGE, type ScanRange } from "../../src/lsm/key_range.ts";
import { fetchLookups } from "../../src/lsm/lookup.ts";
import { buildLevels, type LsmView } from "../../src/lsm/lsm_view.ts";
import { Memtable } from "../../src/lsm/memtable.ts";
import { makeEntry } from "../../src/lsm/row_resolver.ts";
import { fetchRows, RowScan } from "../../src/lsm/row_scan.ts";
import { TableStore } from "../../src/lsm/table_store.ts";
import type { ReadSpec } from "../../src/lsm/version_fold.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import { filesOf, type FixtureCase, fixtureCases, type FixtureFile, leftOut } from "../format/fixture_files.ts";
import { fromHex, hex } from "../support/bytes.ts";
import { canUseDisk } from "../support/permissions.ts";
import { assert, describe, it } from "../support/suite.ts";
import { concat, now } from "./read_world.ts";

interface ExpectedRow {
  readonly key: string;
  readonly value: string | { readonly len: number; readonly sha256: string };
  readonly seq: string;
  readonly create_ts: string;
  readonly expire_ts: string | null;
}

interface Answers {
  readonly db_path: string;
  readonly scan: ReadonlyArray<ExpectedRow>;
  readonly gets?: ReadonlyArray<{ readonly key: string; readonly row: ExpectedRow | null }>;
  readonly ranges?: ReadonlyArray<{
    readonly start: string | null;
    readonly start_inclusive: boolean;
    readonly end: string | null;
    readonly end_inclusive: boolean;
    readonly keys: ReadonlyArray<string>;
    readonly seqs: ReadonlyArray<string>;
  }>;
}

function printEntry(entry: Entry | undefined): string {
  if (entry === undefined) return "-";
  const { key, value, seq, createdAt, expiresAt } = entry;
  const shown = value.length > 128 ? `${value.length}/${createHash("sha256").update(value).digest("hex")}` : hex(value);
  return `${hex(key)}=${shown} #${seq} @${createdAt} !${expiresAt ?? ""}`;
}

function printExpected(row: ExpectedRow | null): string {
  if (row === null) return "-";
  const value = typeof row.value === "string" ? row.value : `${row.value.len}/${row.value.sha256}`;
  return `${row.key}=${value} #${row.seq} @${row.create_ts} !${row.expire_ts ?? ""}`;
}

/** Objects of the database with names below its own root; the WAL of `wal-store` lies in a second store. */
function load(fixture: FixtureCase): { readonly tables: TableStore; readonly view: LsmView } {
  const { db_path: root } = fixture.expected as unknown as Answers;
  const store = memoryStore();
  const files = filesOf(fixture, ".sst");
  for (const { path, bytes } of files) store.plant(path, bytes);
  const manifest = newestManifest(filesOf(fixture, ".manifest").filter(({ path }) => path.startsWith(`${root}/`)));
  const tables = new TableStore({
    store,
    root,
    externalRoot: (id) => manifest.externalDbs.find((external) => external.sstIds.includes(id))?.path,
    cache: new BlockCache({ blockBytes: 1 << 20 }),
  });
  const wals = files.filter(({ path }) => /(?:^|\/)wal\/\d{20}\.sst$/.test(path));
  return { tables, view: { memtables: [replay(wals, manifest)], ...buildLevels(manifest, tables) } };
}

function newestManifest(files: ReadonlyArray<FixtureFile>): Manifest {
  return decodeManifest(files.at(-1)!.bytes).manifest;
}

function replay(wals: ReadonlyArray<FixtureFile>, manifest: Manifest): Memtable {
  const memtable = new Memtable();
  for (const { path, bytes } of wals) {
    if (Number(path.slice(-24, -4)) <= manifest.replayAfterWalId) continue;
    const rows = new WalRows(bytes);
    while (rows.next()) {
      const { keyBytes, keyStart, keyEnd, seq, flags, createTs, expireTs, valueBytes, valueStart, valueEnd } = rows.row;
      if (seq <= manifest.lastL0Seq) continue;
      memtable.insert(keyBytes, keyStart, keyEnd, seq, flags, createTs, expireTs, valueBytes, valueStart, valueEnd);
    }
  }
  return memtable;
}

const SPEC: ReadSpec = { maxSeq: Number.MAX_SAFE_INTEGER, nowMillis: -Infinity, mergeOperator: concat };

function checkCase(fixture: FixtureCase): void {
  const answers = fixture.expected as unknown as Answers;
  const { tables, view } = load(fixture);
  const scan = (range: ScanRange, order: "ascending" | "descending", cache: boolean): Entry[] => {
    const rows: Entry[] = [];
    now(fetchRows(tables, new RowScan(view, range, SPEC, { order }), rows, Infinity, { cache }));
    return rows;
  };
  const expected = answers.scan.map(printExpected);
  for (const cache of [false, true]) {
    assert.deepEqual(scan(FULL_RANGE, "ascending", cache).map(printEntry), expected);
    assert.deepEqual(scan(FULL_RANGE, "descending", cache).map(printEntry), expected.toReversed());
  }
  const gets = answers.gets ?? [];
  const keys = gets.map(({ key }) => fromHex(key));
  const found = now(fetchLookups(tables, view, keys, SPEC, { cache: true }));
  const shown = found.map((row, i) =>
    printEntry(row && makeEntry(keys[i]!, row.value, row.seq, row.createTs, row.expireTs))
  );
  assert.deepEqual(shown, gets.map(({ row }) => printExpected(row)));
  for (const range of answers.ranges ?? []) {
    const bounds: ScanRange = {
      start: range.start === null ? undefined : fromHex(range.start),
      startInclusive: range.start_inclusive,
      end: range.end === null ? undefined : fromHex(range.end),
      endInclusive: range.end_inclusive,
    };
    const rows = scan(bounds, "ascending", true).map(({ key, seq }) => `${hex(key)}#${seq}`);
    assert.deepEqual(rows, range.keys.map((key, i) => `${key}#${range.seqs[i]}`));
    const back = scan(bounds, "descending", true).map(({ key, seq }) => `${hex(key)}#${seq}`);
    assert.deepEqual(back, rows.toReversed());
  }
}

describe("reads of official databases", () => {
  const disk = canUseDisk();
  for (const fixture of disk ? fixtureCases("committed") : []) {
    it(`of the committed case ${fixture.name} answer as the official engine`, () => checkCase(fixture));
  }
  const why = leftOut();
  it("of the larger set answer as the official engine", { skip: why ?? false }, () => {
    for (const fixture of fixtureCases("shared")) checkCase(fixture);
  });
});
