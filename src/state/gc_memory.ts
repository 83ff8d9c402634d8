/**
 * What a collector remembers from pass to pass: the store's clock, which WAL objects are fences, what pinned versions
 * reach. All of it bounded, none of it needed: a collector that begins with nothing asks the store again.
 *
 * The store's clock: when this process has created a manifest version, the time that the store gave to that object was
 * the store's time at a known moment. Later times are that plus what has passed since on this machine, by the slower of
 * its two clocks. So a wall clock that jumps ahead makes nothing look old, and one that is set back delays collection.
 *
 * @module
 */
import { Effect } from "effect";
import type { StoreError } from "../errors.ts";
import { ifThere } from "../store/if_there.ts";
import type { ObjectStoreShape } from "../store/object_store.ts";
import type { StoredManifest } from "./manifest_store.ts";
import type { EngineTime } from "./numbered_versions.ts";
import { ReachCache } from "./reachable.ts";

/** Most fences remembered. */
const FENCES_MAX = 10_000;

/** A moment by both the store's clock and ours. */
interface Anchor {
  /** Manifest version that it comes from. */
  readonly id: number;
  /** The store's time, ms since 1970, at or before `at`. */
  readonly serverMillis: number;
  readonly at: EngineTime;
}

/** Memory of one collector. */
export class GcMemory {
  /** What pinned versions reach. */
  readonly reaches: ReachCache = new ReachCache();
  readonly #fences = new Set<number>();
  #own: { readonly id: number; readonly createdAt: EngineTime } | undefined = undefined;
  #anchor: Anchor | undefined = undefined;

  /** Takes note of a manifest version: the newest that this process created tells the store's time. */
  observe({ id, createdAt }: StoredManifest): void {
    if (createdAt !== undefined && id > (this.#own?.id ?? 0)) this.#own = { id, createdAt };
  }

  /** Asks the store when it stored the newest version noted, unless that is known. One HEAD at most. */
  learnTime(store: ObjectStoreShape, pathOf: (id: number) => string): Effect.Effect<void, StoreError> {
    return Effect.suspend(() => {
      const own = this.#own;
      if (own === undefined || own.id === this.#anchor?.id) return Effect.void;
      return Effect.map(ifThere(store.head(pathOf(own.id))), (meta) => {
        if (meta === undefined) return;
        this.#anchor = { id: own.id, serverMillis: meta.lastModifiedMillis, at: own.createdAt };
      });
    });
  }

  /** Whether the store has told its time. */
  get knowsTime(): boolean {
    return this.#anchor !== undefined;
  }

  /** The store's time at `time` as far as it is proven, else this machine's wall clock; ms since 1970. */
  nowAt(time: EngineTime): number {
    const anchor = this.#anchor;
    if (anchor === undefined) return time.wall;
    const monotonic = time.monotonic - anchor.at.monotonic;
    // A moment before the anchor: the wall clock may tell nonsense about which of the two came first.
    if (monotonic < 0) return anchor.serverMillis + monotonic;
    return anchor.serverMillis + Math.max(0, Math.min(time.wall - anchor.at.wall, monotonic));
  }

  /** Whether WAL object `id` is known to hold no rows. */
  isFence(id: number): boolean {
    return this.#fences.has(id);
  }

  /** Remembers that WAL object `id` holds no rows. WAL objects never change. */
  addFence(id: number): void {
    if (this.#fences.size < FENCES_MAX) this.#fences.add(id);
  }

  /** Forgets a fence that was deleted. */
  removeFence(id: number): void {
    this.#fences.delete(id);
  }
}
