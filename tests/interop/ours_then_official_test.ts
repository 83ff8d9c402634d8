/**
 * Databases that ours wrote, opened by the official engine, written by it, and opened by ours again.
 *
 * @module
 */
import { join } from "node:path";
import {
  officialMissing,
  type OfficialOptions,
  officialWal,
  openOfficial,
  type PlainRow,
  type Writer,
} from "../support/interop_official.ts";
import {
  assertSameAnswers,
  copyPlace,
  openOurs,
  type OursOptions,
  ourWal,
  type Place,
  withPlace,
} from "../support/interop_ours.ts";
import { ENCODINGS, keyOf, type Shape, SHAPES } from "../support/interop_shapes.ts";
import { assert, describe, it } from "../support/suite.ts";

const skip = officialMissing();

function oursOptions(shape: Shape, place: Place): OursOptions {
  return {
    ...(shape.ours === undefined ? {} : { open: shape.ours }),
    merge: shape.merge === true,
    durable: shape.durable !== false,
    ...(shape.walStore === true ? { walStore: join(place.root, "wal-store") } : {}),
  };
}

function officialOptions(shape: Shape, place: Place): OfficialOptions {
  return {
    settings: shape.official ?? {},
    merge: shape.merge === true,
    durable: shape.durable !== false,
    blockSizeBytes: shape.ours?.blockSizeBytes ?? 4096,
    ...(shape.walStore === true ? { walStore: join(place.root, "wal-store") } : {}),
  };
}

/** What a further writer of a shape does; answers the first sequence number that it got. */
async function writeMore(writer: Writer, shape: Shape, rows: readonly PlainRow[]): Promise<number> {
  const first = await writer.put("more", "by the other engine");
  if (rows[0] !== undefined) await writer.put(Buffer.from(rows[0].key, "hex"), "overwritten");
  if (rows[1] !== undefined) await writer.delete(Buffer.from(rows[1].key, "hex"));
  if (shape.merge === true) {
    if (rows[2] !== undefined) await writer.merge(Buffer.from(rows[2].key, "hex"), "+more");
    await writer.merge("fresh", "operand");
  }
  await writer.batch([{ op: "put", key: keyOf(1), value: "batched" }, { op: "delete", key: keyOf(2) }]);
  await writer.flush("memtable");
  await writer.put("tail", "after the flush");
  await writer.flush(shape.ours?.wal === false ? "memtable" : "wal");
  return first;
}

/** The folder of the database in which the log lies. */
function walFolder(shape: Shape, place: Place): string {
  return shape.walStore === true ? join(place.root, "wal-store", "db") : place.db;
}

async function assertSameLog(shape: Shape, place: Place): Promise<void> {
  if (shape.ours?.wal === false) return;
  const rows = ourWal(walFolder(shape, place));
  assert.ok(rows.size > 0);
  assert.deepEqual([...await officialWal(walFolder(shape, place))], [...rows], "the logs differ");
}

/** Opens both engines on copies and compares; then lets the official one write to the original. */
async function check(shape: Shape, place: Place, expected: readonly PlainRow[]): Promise<void> {
  const copy = copyPlace(place.db);
  try {
    const ours = await openOurs(copy.db, oursOptions(shape, copy));
    const official = await openOfficial(place.db, officialOptions(shape, place));
    assert.deepEqual(await official.rows(), expected, "what ours wrote reads differently");
    const rows = await assertSameAnswers(ours, official, shape.probes);
    assert.deepEqual(await ours.rowsDescending(), rows.toReversed());
    const lastSeq = ours.db.status.lastSeq;
    await ours.close();
    assert.equal(await writeMore(official, shape, rows), lastSeq + 1, "the sequence goes on without a gap");
    const after = await official.rows();
    await official.close();
    await assertSameLog(shape, place);
    const again = await openOurs(place.db, oursOptions(shape, place));
    assert.deepEqual(await again.rows(), after, "what the official engine added reads differently");
    await again.close();
  } finally {
    copy.done();
  }
}

/** Runs a history with ours and compares what it leaves, closed and as by a crash, with the official engine. */
async function roundTrip(shape: Shape): Promise<{ rows: PlainRow[]; tables: unknown }> {
  let rows: PlainRow[] = [];
  let tables: unknown;
  await withPlace(async (place) => {
    const writer = await shape.write(() => openOurs(place.db, oursOptions(shape, place)));
    rows = await writer.rows();
    const crashed = copyPlace(place.db);
    await writer.close();
    try {
      await assertSameLog(shape, place);
      tables = await tablesOf(shape, place.db);
      await check(shape, place, rows);
      await check(shape, crashed, rows);
    } finally {
      crashed.done();
    }
  });
  return { rows, tables };
}

/** Rows and tombstones of every table, newest first, as ours counts them in a copy. */
async function tablesOf(shape: Shape, folder: string): Promise<Array<{ entries: number; deletions: number }>> {
  const copy = copyPlace(folder);
  const ours = await openOurs(copy.db, oursOptions(shape, copy));
  const { l0 } = await ours.db.tables();
  await ours.close();
  copy.done();
  return l0.map(({ entries, pointDeletions }) => ({ entries, deletions: pointDeletions }));
}

const story = ({ key, value, seq, expireTs }: PlainRow) => ({ key, value, seq, expires: expireTs !== null });

describe("interop: written by ours, opened by the official engine, written there, opened by ours", { skip }, () => {
  for (const shape of SHAPES) {
    it(shape.name, async () => {
      const { rows, tables } = await roundTrip(shape);
      await withPlace(async (place) => {
        const writer = await shape.write(() => openOfficial(place.db, officialOptions(shape, place)));
        assert.deepEqual((await writer.rows()).map(story), rows.map(story), "the engines leave different rows");
        await writer.close();
        if (shape.cutBySize === true) return;
        assert.deepEqual(await tablesOf(shape, place.db), tables, "flushes of the engines keep different rows");
      });
    });
  }
});

describe("interop: codecs and block sizes of ours, read by the official engine", { skip }, () => {
  for (const shape of ENCODINGS) {
    it(shape.name, () =>
      withPlace(async (place) => {
        const ours = await shape.write(() => openOurs(place.db, oursOptions(shape, place)));
        const copy = copyPlace(place.db);
        const official = await openOfficial(copy.db, officialOptions(shape, copy));
        await assertSameAnswers(ours, official, shape.probes);
        await official.close();
        await ours.close();
        await assertSameLog(shape, place);
        copy.done();
      }));
  }
});
