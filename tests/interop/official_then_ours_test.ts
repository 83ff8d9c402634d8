/**
 * Every stored database of the official engine, read and written by ours, then opened by the official engine again.
 *
 * The first part needs no binding: it compares with the recorded answers, so it runs wherever files can be read.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { basename, join } from "node:path";
import type { KeyRange } from "../../src/db/api.ts";
import { fromHex } from "../support/bytes.ts";
import { officialMissing, type OfficialOptions, openOfficial, type PlainRow } from "../support/interop_official.ts";
import {
  assertSameAnswers,
  copyPlace,
  openOurs,
  type OursOptions,
  type Place,
  plainEntry,
} from "../support/interop_ours.ts";
import { type FixtureCase, fixtureCases, leftOut } from "../format/fixture_files.ts";
import { canUseDisk } from "../support/permissions.ts";
import { assert, describe, it } from "../support/suite.ts";

/** A recorded row; long values as length and digest, all numbers as text. */
interface Recorded {
  readonly key: string;
  readonly value: string | { readonly len: number; readonly sha256: string };
  readonly seq: string;
  readonly create_ts: string;
  readonly expire_ts: string | null;
}
interface Answers {
  readonly db_path: string;
  readonly wal_store_root?: string;
  readonly settings?: Readonly<Record<string, unknown>>;
  readonly scan: readonly Recorded[];
  readonly gets: ReadonlyArray<{ readonly key: string; readonly row: Recorded | null }>;
  readonly ranges?: ReadonlyArray<{
    readonly start: string;
    readonly start_inclusive: boolean;
    readonly end: string;
    readonly end_inclusive: boolean;
    readonly keys: readonly string[];
    readonly seqs: readonly string[];
  }>;
}

function recorded(row: PlainRow): Recorded {
  const value = row.value.length <= 256 ? row.value : {
    len: row.value.length / 2,
    sha256: createHash("sha256").update(Buffer.from(row.value, "hex")).digest("hex"),
  };
  const expire = row.expireTs === null ? null : String(row.expireTs);
  return { key: row.key, value, seq: String(row.seq), create_ts: String(row.createTs), expire_ts: expire };
}

/** A copy of a case, and how either engine opens it. */
interface Prepared {
  readonly answers: Answers;
  readonly place: Place;
  readonly ours: OursOptions;
  readonly official: OfficialOptions;
}

function prepare(fixture: FixtureCase): Prepared {
  const answers = JSON.parse(readFileSync(join(fixture.folder, "expected.json"), "utf8")) as Answers;
  const place = copyPlace(join(fixture.folder, answers.db_path));
  const walStore = answers.wal_store_root === undefined ? {} : { walStore: join(place.root, answers.wal_store_root) };
  const walOff = answers.settings?.["wal_enabled"] === false;
  return {
    answers,
    place,
    ours: { merge: true, ...walStore, open: { minFilterKeys: 1, ...(walOff ? { wal: false } : {}) } },
    official: { merge: true, ...walStore, durable: !walOff, settings: { wal_enabled: !walOff } },
  };
}

/** Opens a copy with ours and compares every recorded answer. */
async function readsLikeRecorded(fixture: FixtureCase): Promise<void> {
  const { answers, place, ours } = prepare(fixture);
  try {
    const writer = await openOurs(place.db, ours);
    const rows = await writer.rows();
    assert.deepEqual(rows.map(recorded), answers.scan);
    assert.deepEqual(await writer.rowsDescending(), rows.toReversed());
    for (const { key, row } of answers.gets) {
      const found = await writer.get(fromHex(key));
      assert.deepEqual(found === undefined ? null : recorded(found), row, `get ${key}`);
    }
    for (const range of answers.ranges ?? []) {
      const bounds: KeyRange = {
        ...(range.start_inclusive ? { gte: fromHex(range.start) } : { gt: fromHex(range.start) }),
        ...(range.end_inclusive ? { lte: fromHex(range.end) } : { lt: fromHex(range.end) }),
      };
      const found = (await writer.db.scan(bounds).toArray()).map(plainEntry);
      assert.deepEqual(found.map((row) => row.key), range.keys);
      assert.deepEqual(found.map((row) => String(row.seq)), range.seqs);
      const back = await writer.db.scan(bounds, { order: "descending" }).toArray();
      assert.deepEqual(back.map(plainEntry), found.toReversed());
    }
    await writer.close();
  } finally {
    place.done();
  }
}

/** Ours writes to a copy and flushes; the official engine must agree, and so must ours once it wrote. */
async function goesOn(fixture: FixtureCase): Promise<void> {
  const { place, ours, official } = prepare(fixture);
  try {
    const writer = await openOurs(place.db, ours);
    const before = await writer.rows();
    await writer.put("added", "by ours");
    if (before[0] !== undefined) await writer.put(fromHex(before[0].key), "overwritten");
    if (before[1] !== undefined) await writer.delete(fromHex(before[1].key));
    if (before[2] !== undefined) await writer.merge(fromHex(before[2].key), "+ours");
    await writer.merge("fresh", "operand");
    await writer.flush("memtable");
    if (ours.open?.wal !== false) await writer.put("tail", "in the log");
    const rows = await writer.rows();
    await writer.close();
    const other = await openOfficial(place.db, official);
    assert.deepEqual(await other.rows(), rows);
    await other.put("added", "by theirs");
    await other.flush("memtable");
    const after = await other.rows();
    await other.close();
    const again = await openOurs(place.db, ours);
    assert.deepEqual(await again.rows(), after);
    await again.close();
    const last = await openOfficial(place.db, official);
    const reopened = copyPlace(place.db);
    const mine = await openOurs(reopened.db, {
      ...ours,
      ...(ours.walStore === undefined ? {} : { walStore: join(reopened.root, basename(ours.walStore)) }),
    });
    await assertSameAnswers(last, mine, ["added", "tail", "absent"]);
    await Promise.all([last.close(), mine.close()]);
    reopened.done();
  } finally {
    place.done();
  }
}

const SOURCES = ["committed", "shared"] as const;
const noFiles = canUseDisk() ? false : "needs permission to read and write files";
const absent = { committed: noFiles, shared: leftOut() ?? false };

for (const source of SOURCES) {
  const missing = absent[source];
  const cases = missing === false ? fixtureCases(source) : [];

  describe(`interop: the official engine's databases read by ours, ${source}`, () => {
    for (const fixture of cases) it(fixture.name, () => readsLikeRecorded(fixture));
    if (missing !== false) it("all cases", { skip: missing }, () => {});
  });

  // The committed cases are a part of the others.
  if (source === "committed" && absent.shared === false) continue;
  const skip = missing || officialMissing();
  describe(`interop: the official engine's databases written by both, ${source}`, () => {
    for (const fixture of cases) it(fixture.name, { skip }, () => goesOn(fixture));
    if (missing !== false) it("all cases", { skip: missing }, () => {});
  });
}
