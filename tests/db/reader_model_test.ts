/**
 * Readers beside a writer that writes, flushes, compacts, collects and is taken over, compared with a model after every
 * step: what a reader shows is exactly the state at its sequence number.
 *
 * @module
 */
import fc from "fast-check";
import { DataError } from "../../mod.ts";
import type { DbReader } from "../../src/db/admin_api.ts";
import type { Db, Reads, Snapshot } from "../../src/db/api.ts";
import { assert, describe, it } from "../support/suite.ts";
import { ReaderWorld } from "./reader_world.ts";

type Step =
  | { readonly do: "put" | "delete"; readonly key: number }
  | {
    readonly do: "flush" | "compact" | "collect" | "takeover" | "poll" | "refresh" | "snapshot" | "release" | "scan";
  }
  | { readonly do: "advance"; readonly minutes: number }
  | { readonly do: "outage"; readonly minutes: number };

const plain = (name: string): fc.Arbitrary<Step> => fc.constant({ do: name } as Step);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ do: fc.constant("put" as const), key: fc.nat(5) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("delete" as const), key: fc.nat(5) }) },
  { weight: 4, arbitrary: plain("flush") },
  { weight: 2, arbitrary: plain("compact") },
  { weight: 2, arbitrary: plain("collect") },
  { weight: 1, arbitrary: plain("takeover") },
  { weight: 4, arbitrary: plain("poll") },
  { weight: 2, arbitrary: plain("refresh") },
  { weight: 2, arbitrary: plain("snapshot") },
  { weight: 1, arbitrary: plain("release") },
  { weight: 2, arbitrary: plain("scan") },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant("advance" as const), minutes: fc.integer({ min: 1, max: 25 }) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("outage" as const), minutes: fc.integer({ min: 1, max: 25 }) }) },
);

/** A managed reader protects what followers read too, so some runs have none. */
const modes = fc.constantFrom(["managed", "follow"] as const, ["managed"] as const, ["follow"] as const);

type Rows = Readonly<Record<string, string>>;

class Run {
  readonly world: ReaderWorld = new ReaderWorld({ blockCacheBytes: 0 });
  /** The state after each sequence number. */
  readonly states: Rows[] = [{}];
  readonly readers: DbReader[] = [];
  readonly snapshots: Array<{ readonly of: DbReader; readonly taken: Snapshot }> = [];
  readonly seen = new Map<DbReader, number>();
  expired = 0;
  db: Db | undefined = undefined;

  async start(modes: ReadonlyArray<"managed" | "follow">): Promise<void> {
    this.db = await this.world.open();
    for (const mode of modes) {
      this.readers.push(await this.world.reader({ mode, blockCacheBytes: 0 }));
    }
  }

  async apply(step: Step): Promise<void> {
    const { world } = this;
    const db = this.db!;
    switch (step.do) {
      case "put":
      case "delete": {
        const key = `k${step.key}`;
        const { [key]: _, ...others } = this.states.at(-1)!;
        const value = `${this.states.length}`;
        await world.get(step.do === "put" ? db.put(key, value) : db.delete(key));
        this.states.push(step.do === "put" ? { ...others, [key]: value } : others);
        return;
      }
      case "flush":
        return await world.get(db.flush({ kind: "memtable" }));
      case "compact":
        return await world.get(db.compact(), 60_000);
      case "collect":
        return void await world.get(db.collectGarbage(), 60_000);
      case "takeover":
        this.db = await world.open();
        return;
      case "poll":
        return await world.clock.advance(10_000);
      case "refresh":
        for (const reader of this.readers) {
          assert.equal(
            await world.get(reader.refresh()),
            this.states.length - 1,
            "a refresh shows all that is durable",
          );
        }
        return;
      case "snapshot":
        for (const of of this.readers) this.snapshots.push({ of, taken: await world.get(of.snapshot()) });
        return;
      case "release":
        return this.snapshots.shift()?.taken.release();
      case "scan":
        return await this.slowScan();
      case "advance":
        return await world.clock.advance(step.minutes * 60_000);
      case "outage":
        world.readerStore.controls.setOutage(true);
        await world.clock.advance(step.minutes * 60_000);
        world.readerStore.controls.setOutage(false);
        this.lost ||= step.minutes >= 5;
        return await world.clock.advance(20_000);
    }
  }

  /** Whether a checkpoint may have ended while its reader could not renew it. */
  lost = false;

  /** Row by row, while the tables are compacted and collected under it. */
  async slowScan(): Promise<void> {
    for (const reader of this.readers) {
      const { seq } = reader.status;
      const scan = reader.scan().iterator();
      const rows: Record<string, string> = {};
      const decoder = new TextDecoder();
      try {
        for (let row = await this.world.get(scan.next()); row !== undefined; row = await this.world.get(scan.next())) {
          rows[decoder.decode(row.key)] = decoder.decode(row.value);
          await this.world.get(this.db!.flush({ kind: "memtable" }));
          await this.world.get(this.db!.compact(), 60_000);
          await this.world.clock.advance(6 * 60_000);
          await this.world.get(this.db!.collectGarbage(), 60_000);
        }
        assert.ok([seq, reader.status.seq].some((at) => same(rows, this.states[at]!)), JSON.stringify(rows));
      } catch (error) {
        this.mayFail(reader, error);
      }
    }
  }

  /** Only what nobody protected may be refused. */
  mayFail(reader: DbReader, error: unknown): void {
    const isExpired = error instanceof DataError && error.reason === "view-expired";
    const isProtected = reader.status.checkpointId !== undefined && !this.lost;
    if (!isExpired || isProtected) throw error;
    this.expired++;
  }

  async check(): Promise<void> {
    for (const reader of this.readers) {
      const rows = await this.world.rows(reader);
      const { seq } = reader.status;
      assert.ok(seq >= (this.seen.get(reader) ?? 0), "numbers went back");
      this.seen.set(reader, seq);
      assert.deepEqual(rows, this.states[seq]);
      await this.agrees(reader, seq);
    }
    for (const { of, taken } of this.snapshots) {
      try {
        assert.deepEqual(await this.world.rows(taken), this.states[taken.seq]);
        await this.agrees(taken, taken.seq);
      } catch (error) {
        this.mayFail(of, error);
      }
    }
  }

  async agrees(reads: Reads, seq: number): Promise<void> {
    for (const key of ["k0", "k3"]) assert.equal(await this.world.value(reads, key), this.states[seq]![key]);
  }
}

function same(a: Rows, b: Rows): boolean {
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => a[name] === b[name]);
}

describe("readers beside a writer", () => {
  it("show exactly the state at their number, whatever is flushed, compacted, collected and taken over", async () => {
    let expired = 0;
    await fc.assert(
      fc.asyncProperty(modes, fc.array(step, { minLength: 10, maxLength: 40 }), async (which, steps) => {
        const run = new Run();
        await run.start(which);
        for (const one of steps) {
          await run.apply(one);
          await run.check();
        }
        expired += run.expired;
        for (const reader of run.readers) await run.world.get(reader.close());
        const own = run.world.manifest.checkpoints.filter((one) =>
          one.expireTimeSeconds - one.createTimeSeconds !== 900
        );
        if (!run.lost) assert.deepEqual(own, []);
      }),
      { seed: 20260, numRuns: 40 },
    );
    assert.ok(expired > 0, "some views of the follower expired");
  });
});
