/**
 * Makes rows durable: turns the WAL buffer into WAL objects, one PUT in flight, ids without holes.
 *
 * Group commit: a write that somebody waits for is flushed at once when no PUT is in flight, else with the next one;
 * the interval is for writes nobody waits for. So the objects get larger the slower the store is; a ceiling on their
 * number per second makes them larger still, up to what a memtable holds: buffers that are full are sealed, and each
 * waits for a turn of its own, so that the ceiling is one on bytes per second too. After a PUT succeeded and before
 * anybody is told, the epoch is checked again when the last proof is too old (K-1): a writer that slept through its
 * succession must not acknowledge.
 *
 * An object with range tombstones waits for a manifest with the gate: the commit queues behind one in flight, which may
 * be the one that takes the gate back, and so finds out.
 *
 * Invariants: W2 WAL ids are contiguous and id n + 1 is put only after id n is stored; W4 no acknowledgement before the
 * object is stored and the epoch is proven; F2 an id that is taken by another process's object means "fenced"; G1 no
 * range tombstone reaches the log before the gate.
 *
 * @module
 */
import { Clock, Effect, type Scope } from "effect";
import type { EngineCounters } from "../src/env/counters.ts";
import { Closed } from "../src/errors.ts";
import { walPath } from "../src/format/paths.ts";
import { type FrozenWal, type WalEncoding, WalObjectWriter } from "../src/state/wal_buffer.ts";
import { fencedError, type ManifestFault, type ManifestHandle } from "../src/state/manifest_handle.ts";
import { raiseGate } from "../src/state/range_gate.ts";
import type { WriterState } from "../src/state/writer_state.ts";
import type { ObjectStoreShape } from "../src/store/object_store.ts";
import { type Actor, oneTimer, spawn } from "./actor.ts";
import type { Supervisor } from "./supervisor.ts";

/** What the flusher works with. */
export interface WalFlusherSpec {
  readonly supervisor: Supervisor;
  readonly state: WriterState;
  readonly manifest: ManifestHandle;
  /** Where the WAL lives; retries transient faults for as long as the database is open. */
  readonly store: ObjectStoreShape;
  readonly root: string;
  readonly encoding: WalEncoding;
  readonly counters: EngineCounters;
  /** Longest time that rows nobody waits for stay in memory only, ms; Infinity = until asked. */
  readonly flushIntervalMillis: number;
  /** Age of the last epoch proof beyond which an acknowledgement needs a new one, ms. */
  readonly epochProofMillis: number;
  /** Most PUTs per second, which then lie at least so far apart; Infinity = no ceiling. A close does not wait for it. */
  readonly maxPutsPerSecond: number;
}

/** "rows": the buffer got its first rows; "flush": store everything now. */
export type WalMessage = "rows" | "flush";

/** Starts the WAL flusher in the current scope. */
export function walFlusher(spec: WalFlusherSpec): Effect.Effect<Actor<WalMessage>, never, Scope.Scope> {
  const { state } = spec;
  return Effect.gen(function* () {
    const scope = yield* Effect.scope;
    const turn = turnsOf(spec);
    const later = oneTimer(scope, spec.flushIntervalMillis, () => {
      if (!state.wal!.isEmpty) actor.tell("flush");
    });
    const awaitInterval = Effect.suspend(() => state.wal!.isEmpty ? Effect.void : later);
    const actor = yield* spawn<WalMessage, ManifestFault, never>(spec.supervisor, {
      name: "WAL flusher",
      kinds: ["rows", "flush"],
      handle: (kind) => kind === "rows" ? awaitInterval : Effect.andThen(flushBuffer(spec, turn), awaitInterval),
    });
    return actor;
  });
}

/**
 * An effect that waits until the ceiling allows the next PUT, if there is one: rows gather meanwhile, and one object
 * takes them all, unless they are more than a memtable holds.
 */
function turnsOf({ maxPutsPerSecond, supervisor }: WalFlusherSpec): Effect.Effect<void> {
  if (maxPutsPerSecond === Infinity) return Effect.void;
  const gapNanos = 1e9 / maxPutsPerSecond;
  let lastNanos = -Infinity;
  return Effect.gen(function* () {
    const clock = yield* Clock.Clock;
    const waitNanos = lastNanos + gapNanos - Number(clock.monotonicTimeNanosUnsafe());
    if (waitNanos > 0 && !supervisor.closing.settled) {
      yield* Effect.race(Effect.sleep(Math.ceil(waitNanos / 1e6)), supervisor.closing.wait);
    }
    lastNanos = Number(clock.monotonicTimeNanosUnsafe());
  });
}

/** Stores what is in the buffer by now, object by object; rows that arrive meanwhile go with the next message. */
function flushBuffer(spec: WalFlusherSpec, turn: Effect.Effect<void>): Effect.Effect<void, ManifestFault> {
  return Effect.gen(function* () {
    const { state } = spec;
    spec.counters.walFlushRequests++;
    let hasTurn = false;
    if (!state.wal!.isEmpty || state.wal!.nextToFlush !== undefined) {
      yield* turn;
      hasTurn = true;
    }
    state.sealWal();
    for (let frozen = state.wal!.nextToFlush; frozen !== undefined; frozen = state.wal!.nextToFlush) {
      if (!hasTurn) yield* turn;
      hasTurn = false;
      const body = yield* encode(frozen, spec.encoding);
      const path = walPath(spec.root, frozen.id);
      if (frozen.hasRanges) yield* spec.manifest.commit(raiseGate);
      const answer = yield* spec.store.putIfAbsent(path, body, { uniqueBody: true });
      if (answer === "exists") return yield* fencedByObject(spec, frozen);
      yield* proveEpoch(spec, frozen);
      spec.counters.walFlushes++;
      state.walStored(frozen);
    }
  });
}

/** Rows and bytes encoded between two yields to other fibers: a few milliseconds of work. */
const ROWS_PER_SLICE = 4096;
const BYTES_PER_SLICE = 1024 * 1024;

function encode(frozen: FrozenWal, encoding: WalEncoding): Effect.Effect<Uint8Array> {
  return Effect.gen(function* () {
    const writer = new WalObjectWriter(frozen, encoding);
    while (writer.step(ROWS_PER_SLICE, BYTES_PER_SLICE)) yield* Effect.yieldNow;
    return writer.finish();
  });
}

/** Reads the manifest again when the last proof of our epoch is older than the put may rely on. */
function proveEpoch(spec: WalFlusherSpec, frozen: FrozenWal): Effect.Effect<void, ManifestFault> {
  return Effect.gen(function* () {
    if ((yield* spec.manifest.sinceObserved) <= spec.epochProofMillis) return;
    const stored = yield* spec.manifest.refresh;
    if (stored.manifest.replayAfterWalId >= frozen.id) {
      return yield* fencedError(stored.manifest.writerEpoch, spec.manifest.epoch);
    }
  });
}

/** Somebody else's object stands at our id: a newer writer's fence, most likely. Say whose, if the manifest tells. */
function fencedByObject(spec: WalFlusherSpec, frozen: FrozenWal): Effect.Effect<never, ManifestFault> {
  return Effect.andThen(
    spec.manifest.refresh,
    Effect.fail(
      new Closed({
        reason: "fenced",
        message: `Closed: WAL object ${walPath(spec.root, frozen.id)} was written by another process. ` +
          "Open the database again only if this process should be the writer",
      }),
    ),
  );
}
