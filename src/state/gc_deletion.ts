/**
 * The deleting part of a collection: pages of names that nothing reaches, with as few requests as the store can.
 *
 * Where the store can delete many objects with one request, a page is one request. A page that fails (it was repeated
 * already) is gone through one by one, so that one object which cannot be deleted does not keep the others, and the
 * report tells which stay; so is everything after it where the store turns out not to delete many at all. A page that
 * failed for a reason that may pass counts as one failure. After sixteen failures a pass tries no more, and at once
 * where the store asks for fewer requests.
 *
 * What a page holds is bounded by a page of a listing; nothing else is kept here.
 *
 * @module
 */
import { Effect } from "effect";
import type { StoreError } from "../errors.ts";
import { parseNumberedName } from "../format/paths.ts";
import { DELETE_MANY_MAX, type ObjectMeta, type ObjectStoreShape } from "../store/object_store.ts";
import type { GcMemory } from "./gc_memory.ts";
import type { GcResource } from "./gc_report.ts";
import { kept } from "./gc_rules.ts";
import type { GcTally } from "./gc_tally.ts";

/** Deletions at once, where each is a request. */
const CONCURRENCY = 8;
/** Failed deletions after which a pass does not try any more. */
const FAILURES_MAX = 16;

/** Deletes what a pass has judged, and counts what came of it. */
export class GcDeletion {
  readonly #tally: GcTally;
  readonly #memory: GcMemory;
  readonly #dryRun: boolean;
  #failures = 0;
  /** Stores that have refused to delete many at once. */
  readonly #oneByOne: Set<ObjectStoreShape> = new Set();
  /** The first deletion that failed. */
  failure: StoreError | undefined = undefined;

  constructor(tally: GcTally, memory: GcMemory, dryRun: boolean) {
    this.#tally = tally;
    this.#memory = memory;
    this.#dryRun = dryRun;
  }

  /** Deletes objects of one kind; with a dry run only counts them. */
  delete(resource: GcResource, store: ObjectStoreShape, objects: ReadonlyArray<ObjectMeta>): Effect.Effect<void> {
    if (this.#dryRun) {
      return Effect.sync(() => objects.forEach((meta) => this.#tally.deleted(resource, meta)));
    }
    const pages: ObjectMeta[][] = [];
    for (let at = 0; at < objects.length; at += DELETE_MANY_MAX) pages.push(objects.slice(at, at + DELETE_MANY_MAX));
    return Effect.forEach(pages, (page) => this.#page(resource, store, page), { discard: true });
  }

  #page(resource: GcResource, store: ObjectStoreShape, page: ReadonlyArray<ObjectMeta>): Effect.Effect<void> {
    return Effect.suspend(() => {
      const { deleteMany } = store;
      if (deleteMany === undefined || page.length < 2 || this.gaveUp || this.#oneByOne.has(store)) {
        return this.#each(resource, store, page);
      }
      return Effect.matchEffect(deleteMany(page.map((meta) => meta.path)), {
        onSuccess: () => Effect.sync(() => page.forEach((meta) => this.#deleted(resource, meta))),
        onFailure: (error) => {
          if (error.reason === "unsupported") this.#oneByOne.add(store);
          if (error.retryable) this.#failures += error.reason === "throttled" ? FAILURES_MAX : 1;
          if (this.gaveUp) this.failure ??= error;
          return this.#each(resource, store, page);
        },
      });
    });
  }

  /** Whether deletions failed so often that no more are tried. */
  get gaveUp(): boolean {
    return this.#failures >= FAILURES_MAX;
  }

  #each(resource: GcResource, store: ObjectStoreShape, page: ReadonlyArray<ObjectMeta>): Effect.Effect<void> {
    return Effect.forEach(page, (meta) => this.#one(resource, store, meta), {
      concurrency: CONCURRENCY,
      discard: true,
    });
  }

  #one(resource: GcResource, store: ObjectStoreShape, meta: ObjectMeta): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (this.gaveUp) return Effect.sync(() => this.#tally.kept(resource, kept("delete-failed")));
      return Effect.matchEffect(store.delete(meta.path), {
        onSuccess: () => Effect.sync(() => this.#deleted(resource, meta)),
        onFailure: (error) =>
          Effect.sync(() =>
            error.reason === "not-found" ? this.#deleted(resource, meta) : this.#failed(resource, error)
          ),
      });
    });
  }

  #deleted(resource: GcResource, meta: ObjectMeta): void {
    this.#tally.deleted(resource, meta);
    if (resource === "wal") this.#memory.removeFence(parseNumberedName(meta.path)!);
  }

  #failed(resource: GcResource, error: StoreError): void {
    this.#failures++;
    this.failure ??= error;
    this.#tally.kept(resource, kept("delete-failed"));
  }
}
