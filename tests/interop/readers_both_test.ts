/**
 * Readers of one engine attached while the other one writes, compacts and collects: each scan shows the state after
 * some prefix of the writes, never an older one than the scan before, and nothing fails.
 *
 * Every write puts its number under the key `n`, so a scan tells which prefix it must equal.
 *
 * @module
 */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { createCheckpoint, openReader } from "../../mod.ts";
import type { Reads } from "../../src/db/api.ts";
import { collectGarbage } from "../../src/db/collect.ts";
import type { ReaderOptions } from "../../src/db/reader_options.ts";
import { FaultDice } from "../../src/store/faulty/fault_plan.ts";
import { hex } from "../support/bytes.ts";
import {
  assertAllReachableStored,
  dropCompactorCheckpoints,
  locationOf,
  officialAtRest,
  oursAtRest,
} from "../support/interop_compaction.ts";
import {
  appendOperand,
  type BatchOp,
  officialMissing,
  type OfficialReader,
  openOfficial,
  openOfficialReader,
  type PlainRow,
  quickCollector,
  quickCompactor,
  type Writer,
} from "../support/interop_official.ts";
import { newestManifest, openOurs, plainEntry, withPlace } from "../support/interop_ours.ts";
import { keyOf } from "../support/interop_shapes.ts";
import { assert, describe, it } from "../support/suite.ts";

const skip = officialMissing();
const KEYS = 60;
const POLL_MILLIS = 20;
const COUNTER = hex(Buffer.from("n"));

/** Writes one after another; all of them, in their order. */
class Script {
  readonly writes: Array<readonly BatchOp[]> = [];
  readonly #dice: FaultDice;

  constructor(seed: number) {
    this.#dice = new FaultDice(seed);
  }

  /** Makes the next write. */
  async next(writer: Writer): Promise<void> {
    const ops: BatchOp[] = [{ op: "put", key: "n", value: `${this.writes.length + 1}` }];
    const keys = new Set(Array.from({ length: 1 + Math.floor(this.#dice.next() * 5) }, () => this.#key()));
    for (const key of keys) {
      const kind = this.#dice.next();
      if (kind < 0.25) ops.push({ op: "delete", key });
      else if (kind < 0.45) ops.push({ op: "merge", key, value: `+${this.writes.length}` });
      else {ops.push({
          op: "put",
          key,
          value: `${this.writes.length} ${"v".repeat(Math.floor(this.#dice.next() * 50))}`,
        });}
    }
    this.writes.push(ops);
    await writer.batch(ops);
  }

  #key(): string {
    return keyOf(Math.floor(this.#dice.next() * KEYS));
  }
}

/** Compares the scans of one reader with prefixes of a script. */
class Watch {
  readonly #script: Script;
  readonly #state: Map<string, string> = new Map();
  /** Prefix that the last scan showed. */
  at = 0;
  /** How many different prefixes were seen. */
  steps = 0;

  constructor(script: Script) {
    this.#script = script;
  }

  /** Judges one scan. */
  see(rows: readonly PlainRow[], what: string): void {
    const counter = rows.find((row) => row.key === COUNTER)?.value ?? hex(Buffer.from("0"));
    const count = Number(Buffer.from(counter, "hex").toString());
    assert.ok(count >= this.at, `${what}: it showed write ${this.at}, now ${count}`);
    assert.ok(count <= this.#script.writes.length, `${what}: write ${count} was not made yet`);
    if (count > this.at) this.steps++;
    for (; this.at < count; this.at++) {
      for (const op of this.#script.writes[this.at]!) this.#apply(op);
    }
    const expected = [...this.#state].sort(([a], [b]) => a < b ? -1 : 1)
      .map(([key, value]) => ({ key: hex(Buffer.from(key)), value: hex(Buffer.from(value)) }));
    assert.deepEqual(
      rows.map(({ key, value }) => ({ key, value })),
      expected,
      `${what}: not the state of write ${count}`,
    );
  }

  #apply(op: BatchOp): void {
    const key = String(op.key);
    if (op.op === "delete") this.#state.delete(key);
    else this.#state.set(key, op.op === "put" ? String(op.value) : (this.#state.get(key) ?? "") + String(op.value));
  }
}

async function rowsOf(reads: Reads): Promise<PlainRow[]> {
  return (await reads.scan().toArray()).map(plainEntry);
}

/** Goes on until `working` is over; then waits until everything has been seen. */
async function watchAll(
  script: Script,
  watch: Watch,
  rows: () => Promise<readonly PlainRow[]>,
  working: () => boolean,
  what: string,
): Promise<Watch> {
  for (let late = 0; late < 300;) {
    watch.see(await rows().catch((cause) => Promise.reject(new Error(`${what} failed: ${cause}`, { cause }))), what);
    if (!working()) {
      if (watch.at === script.writes.length) return watch;
      late++;
    }
    await sleep(10);
  }
  return assert.fail(`${what}: it stopped at write ${watch.at} of ${script.writes.length}`);
}

const ROUNDS = 24;

/** Writes `ROUNDS` tables and rests; `between` follows each. */
async function writeRounds(script: Script, writer: Writer, between: (round: number) => Promise<void>): Promise<void> {
  for (let round = 0; round < ROUNDS; round++) {
    for (let i = 0; i < 12; i++) await script.next(writer);
    if (round % 4 !== 3) await writer.flush("memtable");
    await between(round);
    await sleep(40);
  }
}

function ourReader(db: string, options: ReaderOptions) {
  return openReader(locationOf(db), {
    ttl: "slatedb",
    mergeOperator: appendOperand,
    ...("checkpoint" in options ? {} : { manifestPollIntervalMillis: POLL_MILLIS }),
    ...options,
  });
}

describe("interop: readers of one engine beside the writer of the other", { skip }, () => {
  for (const [seed, scheduler] of [[61, "size-tiered"], [62, "leveled"]] as const) {
    it(`official readers while ours writes, compacts (${scheduler}) and collects`, () =>
      withPlace(async (place) => {
        const script = new Script(seed);
        const writer = await openOurs(place.db, {
          merge: true,
          open: {
            blockSizeBytes: 1024,
            manifestPollIntervalMillis: 20,
            compactor: {
              scheduler,
              minCompactionSources: 2,
              maxSstBytes: 800,
              levelBaseBytes: 2000,
              levelMultiplier: 2,
            },
            garbageCollector: { intervalMillis: 60, minAgeMillis: 600, allowUnsafeAge: true },
          },
        });
        await script.next(writer);
        let working = true;
        const made = new Set<string>();
        const early = await openOfficialReader(place.db, POLL_MILLIS, true);
        const own = newestManifest(place.db).checkpoints.map(({ id }) => id);
        assert.equal(own.length, 1);
        const watched = watchAll(script, new Watch(script), () => early.rows(), () => working, "the first reader");
        const late: Array<Promise<Watch>> = [];
        // Looks for news after the test only: its first checkpoint must keep what it reads.
        let still: { readonly reader: OfficialReader; readonly watch: Watch } | undefined;
        await writeRounds(script, writer, async (round) => {
          // Only the 15-minute checkpoints of our compactions go: the readers' own must hold by themselves.
          await dropCompactorCheckpoints(place.db);
          for (const name of readdirSync(join(place.db, "compacted"))) made.add(name);
          if (round === 4) {
            still = { reader: await openOfficialReader(place.db, 300_000, true), watch: new Watch(script) };
          }
          still?.watch.see(await still.reader.rows(), `the still reader in round ${round}`);
          if (round % 8 === 5) {
            const reader = await openOfficialReader(place.db, POLL_MILLIS, true);
            const watch = watchAll(
              script,
              new Watch(script),
              () => reader.rows(),
              () => working,
              `reader ${round}`,
            );
            late.push(watch.finally(() => reader.close()));
          }
        });
        await oursAtRest(writer, 2);
        working = false;
        for (const watch of [await watched, ...await Promise.all(late)]) {
          assert.ok(watch.steps > 2, `${watch.steps} states were seen`);
        }
        const { deleted } = await writer.db.collectGarbage();
        const kept = new Set(readdirSync(join(place.db, "compacted")));
        const gone = made.size - [...made].filter((name) => kept.has(name)).length;
        assert.ok(gone > 20, `${gone} of ${made.size} tables were collected, ${deleted.compacted.length} in the end`);
        assert.equal(still?.watch.steps, 1, "the still reader moved");
        await still?.reader.close();
        await early.close();
        await writer.close();
        assertAllReachableStored(place.db, "in the end");
      }));
  }

  it("our managed, follow and pinned readers while the official engine writes, compacts and collects", () =>
    withPlace(async (place) => {
      const script = new Script(63);
      const writer = await openOfficial(place.db, {
        merge: true,
        blockSizeBytes: 1024,
        settings: {
          min_filter_keys: 1,
          compactor_options: quickCompactor(2, 2),
          garbage_collector_options: quickCollector(300, 60_000),
        },
      });
      await script.next(writer);
      let working = true;
      const managed = await ourReader(place.db, { mode: "managed" });
      const follow = await ourReader(place.db, { mode: "follow" });
      const watches = [
        watchAll(script, new Watch(script), () => rowsOf(managed), () => working, "managed"),
        watchAll(script, new Watch(script), () => rowsOf(follow), () => working, "follow"),
      ];
      const pinned: Array<{ readonly check: () => Promise<void>; readonly close: () => Promise<void> }> = [];
      let collected = 0;
      await writeRounds(script, writer, async (round) => {
        if (round % 8 === 2) {
          await writer.flush("memtable");
          const { id } = await createCheckpoint(locationOf(place.db), { lifetimeMillis: 600_000 });
          const reader = await ourReader(place.db, { checkpoint: id });
          const count = script.writes.length;
          const watch = new Watch(script);
          const check = async () => {
            watch.see(await rowsOf(reader), `pinned in round ${round}`);
            assert.equal(watch.at, count, `pinned in round ${round}: it stays where it is`);
          };
          pinned.push({ check, close: () => reader.close() });
        }
        for (const { check } of pinned) await check();
        collected += await dropCompactorCheckpoints(place.db);
      });
      await officialAtRest(place.db, 2);
      working = false;
      for (const watch of await Promise.all(watches)) assert.ok(watch.steps > 5, `${watch.steps} states were seen`);
      for (const reader of [managed, follow]) assert.equal(reader.status.trouble, undefined);
      for (const { check, close } of pinned) {
        await check();
        await close();
      }
      assert.ok(collected > 3, `${collected} checkpoints of compactions were removed`);
      await managed.close();
      await follow.close();
      await writer.close();
      assertAllReachableStored(place.db, "in the end");
    }));

  it("our readers while the official engine writes and our collector runs beside it", () =>
    withPlace(async (place) => {
      const script = new Script(64);
      const writer = await openOfficial(place.db, {
        merge: true,
        blockSizeBytes: 1024,
        settings: { min_filter_keys: 1, compactor_options: quickCompactor(3) },
      });
      await script.next(writer);
      let working = true;
      let deleted = 0;
      const readers = await Promise.all([
        ourReader(place.db, { mode: "managed" }),
        ourReader(place.db, { mode: "follow" }),
      ]);
      const official = await openOfficialReader(place.db, POLL_MILLIS, true);
      const watches = [
        ...readers.map((reader, i) =>
          watchAll(script, new Watch(script), () => rowsOf(reader), () => working, ["managed", "follow"][i]!)
        ),
        watchAll(script, new Watch(script), () => official.rows(), () => working, "the official reader"),
      ];
      await writeRounds(script, writer, async () => {
        await dropCompactorCheckpoints(place.db);
        const report = await collectGarbage(locationOf(place.db), { minAgeMillis: 1500, allowUnsafeAge: true });
        assert.equal(report.stopped, undefined);
        deleted += report.deleted.compacted.length;
      });
      await officialAtRest(place.db, 3);
      working = false;
      await Promise.all(watches);
      assert.ok(deleted > 5, `${deleted} tables were collected`);
      for (const reader of readers) await reader.close();
      await official.close();
      await writer.close();
      assertAllReachableStored(place.db, "in the end");
    }));
});
