/**
 * A week in the life of a database, in virtual time: a writer with its compactor and collector, a reader that holds a
 * checkpoint and one that only follows, snapshots, checkpoints that come and go, crashes of the writer.
 *
 * Every deletion is judged at the moment it reaches the store, by what the stored manifests say; every hour what readers
 * see is compared with the history of writes.
 */
import { Effect } from "effect";
import { open, openReader, WriteBatch } from "../../mod.ts";
import type { Db, Snapshot } from "../../src/db/api.ts";
import type { OpenOptions } from "../../src/db/options.ts";
import { virtualClock } from "../../src/env/virtual_clock.ts";
import { decodeManifest } from "../../src/format/manifest_codec.ts";
import { manifestPath, parseNumberedName, tablePath, walPath } from "../../src/format/paths.ts";
import type { Manifest } from "../../src/format/types.ts";
import { faultyStore } from "../../src/store/faulty_store.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import type { ObjectStoreShape } from "../../src/store/object_store.ts";
import { assert, describe, it } from "../support/suite.ts";

const HOUR = 3_600_000;
const MINUTE = 60_000;
const HOURS = 7 * 24;
const KEYS = 200;
/** Time after which an orphan must be gone: least age, one interval with jitter, and a little. */
const ORPHAN_MILLIS = 300_000 + 660_000 + 300_000;

/** Appends. */
const mergeOperator = (_key: Uint8Array, existing: Uint8Array | undefined, operand: Uint8Array): Uint8Array => {
  const sum = new Uint8Array((existing?.length ?? 0) + operand.length);
  sum.set(existing ?? []);
  sum.set(operand, existing?.length ?? 0);
  return sum;
};
const options: OpenOptions = {
  l0SstSizeBytes: 6000,
  blockSizeBytes: 1024,
  compactor: { maxSstBytes: 12_000 },
  mergeOperator,
};

/** Chances from a seed. */
class Dice {
  #state: number;
  constructor(seed: number) {
    this.#state = seed >>> 0 || 1;
  }
  below(n: number): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return (this.#state >>> 0) % n;
  }
}

const decoder = new TextDecoder();

/** What every key was worth after every write. */
class History {
  readonly #versions = new Map<string, Array<{ readonly seq: number; readonly value: string | undefined }>>();

  set(key: string, seq: number, value: string | undefined): void {
    const versions = this.#versions.get(key);
    if (versions === undefined) this.#versions.set(key, [{ seq, value }]);
    else versions.push({ seq, value });
  }

  /** Forgets writes above `seq`: a crash did too. */
  cutAfter(seq: number): void {
    for (const [key, versions] of this.#versions) {
      this.#versions.set(key, versions.filter((version) => version.seq <= seq));
    }
  }

  at(seq: number): Map<string, string> {
    const state = new Map<string, string>();
    for (const key of [...this.#versions.keys()].sort()) {
      const value = this.#versions.get(key)!.findLast((version) => version.seq <= seq)?.value;
      if (value !== undefined) state.set(key, value);
    }
    return state;
  }
}

/** What the stored manifests reach. */
class Inspector {
  readonly inner = memoryStore();

  get newest(): { readonly id: number; readonly manifest: Manifest } {
    const path = this.inner.objects().filter((name) => name.startsWith("manifest/")).at(-1)!;
    return { id: parseNumberedName(path)!, manifest: this.read(path) };
  }

  read(path: string): Manifest {
    return decodeManifest(this.inner.peek(path)!).manifest;
  }

  /** Every object that must exist at `nowMillis`. */
  reachable(nowMillis: number): Set<string> {
    const { id, manifest } = this.newest;
    const names = new Set<string>();
    const versions = new Set([id]);
    for (const checkpoint of manifest.checkpoints) {
      const { expireTimeSeconds, manifestId } = checkpoint;
      if (expireTimeSeconds === 0 || expireTimeSeconds * 1000 > nowMillis) versions.add(manifestId);
    }
    for (const version of versions) {
      const path = manifestPath("", version);
      names.add(path);
      const { l0, compacted, replayAfterWalId, walIdLastSeen } = this.read(path);
      for (const view of [...l0, ...compacted.flatMap((run) => run.ssts)]) names.add(tablePath("", view.sstId));
      for (let wal = replayAfterWalId + 1; wal <= walIdLastSeen; wal++) names.add(walPath("", wal));
    }
    return names;
  }
}

describe("a week of virtual time", () => {
  it("loses nothing, collects nothing reachable, leaves no old orphans and stays small", async () => {
    const clock = virtualClock(1_700_000_000_000);
    const inspector = new Inspector();
    const wrong: string[] = [];
    const judged: ObjectStoreShape = {
      ...inspector.inner,
      delete: (path) =>
        Effect.suspend(() => {
          if (inspector.reachable(clock.now()).has(path)) wrong.push(`${path} was deleted while it is reachable`);
          counts.deleted++;
          return inspector.inner.delete(path);
        }),
    };
    const dice = new Dice(20_261_121);
    const history = new History();
    const counts = { writes: 0, crashes: 0, deleted: 0, mostObjects: 0, checks: 0 };
    const orphanSince = new Map<string, number>();

    let controls = faultyStore(judged).controls;
    const openWriter = async (): Promise<Db> => {
      const store = faultyStore(judged);
      controls = store.controls;
      return await wait(open({ store, path: "" }, { ...options, clock }));
    };
    /** Lets time pass until a promise has ended. */
    async function wait<A>(promise: Promise<A>): Promise<A> {
      let done = false;
      promise.then(() => done = true, () => done = true);
      for (let i = 0; !done; i++) {
        await clock.advance(i < 5 ? 0 : 100);
        if (i > 5000) throw new Error("a promise did not end");
      }
      return await promise;
    }
    const compare = async (
      what: string,
      found: Promise<ReadonlyArray<{ key: Uint8Array; value: Uint8Array }>>,
      seq: number,
    ) => {
      const rows = (await wait(found)).map(({ key, value }) => [decoder.decode(key), decoder.decode(value)]);
      assert.deepEqual(rows, [...history.at(seq)], `${what} at ${seq}`);
      counts.checks++;
    };

    let db = await openWriter();
    const managed = await wait(openReader({ store: judged, path: "" }, {
      clock,
      mergeOperator,
      manifestPollIntervalMillis: 5 * MINUTE,
      checkpointLifetimeMillis: 30 * MINUTE,
    }));
    const follower = await wait(openReader({ store: judged, path: "" }, {
      clock,
      mergeOperator,
      mode: "follow",
      manifestPollIntervalMillis: 7 * MINUTE,
    }));
    let snapshots: Array<{ readonly snapshot: Snapshot; readonly until: number }> = [];

    const writeBatch = async (durable: boolean): Promise<void> => {
      const batch = new WriteBatch();
      const before = history.at(db.status.lastSeq);
      const changes: Array<[string, string | undefined]> = [];
      for (const key of new Set(Array.from({ length: 1 + dice.below(12) }, () => `key ${dice.below(KEYS)}`))) {
        const kind = dice.below(10);
        const value = `${counts.writes} ${"v".repeat(dice.below(120))}`;
        if (kind < 6) {
          batch.put(key, value);
          changes.push([key, value]);
        } else if (kind < 8) {
          batch.delete(key);
          changes.push([key, undefined]);
        } else {
          batch.merge(key, "+m");
          changes.push([key, `${before.get(key) ?? ""}+m`]);
        }
      }
      const { seq } = await wait(db.write(batch, { durable }));
      for (const [key, value] of changes) history.set(key, seq, value);
      counts.writes++;
    };

    for (let hour = 0; hour < HOURS; hour++) {
      const busy = dice.below(4) !== 0;
      for (let i = 0; busy && i < 12; i++) {
        for (let n = dice.below(6); n > 0; n--) await writeBatch(n === 1);
        await clock.advance(dice.below(8) * MINUTE);
      }
      if (dice.below(5) === 0) snapshots.push({ snapshot: await db.snapshot(), until: hour + dice.below(8) });
      if (dice.below(6) === 0) {
        await wait(
          db.checkpoint({
            lifetimeMillis: (1 + dice.below(20)) * HOUR,
            scope: dice.below(2) === 0 ? "all" : "durable",
          }),
        );
      }
      if (dice.below(12) === 0) {
        for (const { id, expiresAt } of await wait(db.checkpoints())) {
          if (expiresAt !== undefined && expiresAt - clock.now() > HOUR) await wait(db.deleteCheckpoint(id));
        }
      }
      if (dice.below(24) === 0) await wait(db.compact(dice.below(2) === 0 ? undefined : { gte: "key 1", lt: "key 5" }));
      for (const { snapshot } of snapshots) await compare("a snapshot", snapshot.scan().toArray(), snapshot.seq);
      for (const { snapshot, until } of snapshots) if (until <= hour) snapshot.release();
      snapshots = snapshots.filter(({ until }) => until > hour);
      if (dice.below(15) === 0) {
        // The process dies; what it had not stored is gone.
        const { durableSeq } = db.status;
        controls.crash();
        snapshots = [];
        await clock.advance(MINUTE);
        db = await openWriter();
        assert.ok(db.status.lastSeq >= durableSeq, "an acknowledged write was lost");
        history.cutAfter(db.status.lastSeq);
        counts.crashes++;
      }
      await compare(
        "the writer",
        db.scan({}, { order: dice.below(2) === 0 ? "ascending" : "descending" })
          .toArray().then((rows) => rows.sort((a, b) => decoder.decode(a.key) < decoder.decode(b.key) ? -1 : 1)),
        db.status.lastSeq,
      );
      for (const [name, reader] of [["the managed reader", managed], ["the follower", follower]] as const) {
        const { seq, closeReason } = reader.status;
        assert.equal(closeReason, undefined, `${name} closed itself`);
        await compare(name, reader.scan().toArray(), reader.status.seq === seq ? seq : reader.status.seq);
      }
      await clock.advance(dice.below(60) * MINUTE);
      const reachable = inspector.reachable(clock.now());
      for (const path of reachable) assert.ok(inspector.inner.peek(path) !== undefined, `${path} is gone`);
      for (const path of inspector.inner.objects()) {
        if (!path.startsWith("compacted/")) continue;
        if (reachable.has(path)) {
          orphanSince.delete(path);
          continue;
        }
        const since = orphanSince.get(path) ?? clock.now();
        orphanSince.set(path, since);
        const minutes = Math.round((clock.now() - since) / MINUTE);
        if (clock.now() - since > ORPHAN_MILLIS) assert.fail(`${path} has been an orphan for ${minutes} minutes`);
      }
      counts.mostObjects = Math.max(counts.mostObjects, inspector.inner.objects().length);
      assert.deepEqual(wrong, []);
    }

    for (const { snapshot } of snapshots) snapshot.release();
    for (const { id } of await wait(db.checkpoints())) {
      if (id !== managed.status.checkpointId) await wait(db.deleteCheckpoint(id));
    }
    await clock.advance(HOUR);
    const reachable = inspector.reachable(clock.now());
    const orphans = inspector.inner.objects().filter((path) => path.startsWith("compacted/") && !reachable.has(path));
    assert.deepEqual(orphans, [], `orphans after an hour, more than ${ORPHAN_MILLIS} ms`);
    assert.ok(counts.mostObjects < 900, `${counts.mostObjects} objects at once`);
    assert.ok(
      counts.crashes > 3 && counts.writes > 1000 && counts.checks > 3 * HOURS && counts.deleted > 1000,
      JSON.stringify(counts),
    );
    await wait(managed.close());
    await wait(follower.close());
    await wait(db.close());
  });
});
