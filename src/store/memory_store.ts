/**
 * Objects in memory: for `memory:` databases, tests and simulation.
 *
 * Every request is one synchronous step, so a simulation decides all interleavings and nothing ever leaves the Effect
 * world. Bodies are copied in and handed out as copies; a stored body is never changed in place, which lets clones and
 * snapshots share them. Times come from the clock of the calling fiber. Put-ids are kept.
 *
 * @module
 */
import { Clock, Effect, Layer } from "effect";
import { joinChunks } from "../bytes/chunks.ts";
import type { StoreError, StoreOp } from "../errors.ts";
import {
  type ByteRange,
  type ListPage,
  type ObjectMeta,
  ObjectStore,
  type ObjectStoreShape,
  type Upload,
} from "./object_store.ts";
import { checkRange, compareNames, folderProblem, nameProblem, notFound, pastTheEnd } from "./store_names.ts";

/** Objects in a page of a listing. */
const PAGE_LIMIT = 1000;

interface StoredObject {
  readonly body: Uint8Array;
  readonly lastModifiedMillis: number;
  readonly putId: string | undefined;
}

/** All objects of a memory store at one moment. Opaque; give it to `restore`. */
export interface MemorySnapshot {
  /** By name. */
  readonly objects: ReadonlyMap<string, unknown>;
}

/** A store in memory, with what tests need to look behind it. */
export interface MemoryStore extends ObjectStoreShape {
  /** Names of all objects, in order of their UTF-8 bytes. */
  objects(): ReadonlyArray<string>;
  /** A copy of an object's bytes, or undefined. */
  peek(path: string): Uint8Array | undefined;
  /** Creates or replaces an object behind the engine's back: damage, foreign files, old ages. */
  plant(path: string, body: Uint8Array, options?: PlantOptions): void;
  /** Removes an object behind the engine's back; answers whether there was one. */
  remove(path: string): boolean;
  /** Sum of the sizes of all objects, in bytes. */
  readonly totalBytes: number;
  /** All objects as they are now. */
  snapshot(): MemorySnapshot;
  /** Goes back to `snapshot`, or to what another memory store holds now. */
  restore(snapshot: MemorySnapshot | MemoryStore): void;
  /** An independent store with the same objects. */
  clone(): MemoryStore;
}

/** Settings of `plant`. */
export interface PlantOptions {
  /** ms since 1970; 0 when absent. */
  readonly lastModifiedMillis?: number;
  /** The put-id that `head` shall answer; none when absent. */
  readonly putId?: string;
}

/** Makes an empty store in memory. */
export function memoryStore(): MemoryStore {
  return new InMemoryStore();
}

/** An empty store in memory as a service. */
export function memoryStoreLayer(): Layer.Layer<ObjectStore> {
  return Layer.sync(ObjectStore, memoryStore);
}

class InMemoryStore implements MemoryStore {
  #objects: Map<string, StoredObject> = new Map();
  /** Names in order; undefined after a restore, until somebody asks. */
  #sorted: Array<string> | undefined = [];

  readonly get = (path: string): Effect.Effect<Uint8Array, StoreError> =>
    Effect.suspend(() => this.#withObject("get", path, (object) => Effect.succeed(object.body.slice())));

  readonly getRange = (path: string, range: ByteRange): Effect.Effect<Uint8Array, StoreError> =>
    Effect.suspend(() => this.#withObject("getRange", path, (object) => readRange("getRange", path, object, range)));

  readonly getRanges = (
    path: string,
    ranges: ReadonlyArray<ByteRange>,
  ): Effect.Effect<ReadonlyArray<Uint8Array>, StoreError> =>
    Effect.suspend(() =>
      this.#withObject(
        "getRanges",
        path,
        (object) => Effect.forEach(ranges, (range) => readRange("getRanges", path, object, range)),
      )
    );

  readonly head = (path: string): Effect.Effect<ObjectMeta, StoreError> =>
    Effect.suspend(() =>
      this.#withObject("head", path, (object) =>
        Effect.succeed(
          object.putId === undefined ? meta(path, object) : { ...meta(path, object), putId: object.putId },
        ))
    );

  readonly put = (path: string, body: Uint8Array): Effect.Effect<void, StoreError> =>
    this.#step("put", path, (now) => {
      this.#store(path, { body: new Uint8Array(body), lastModifiedMillis: now, putId: undefined });
      return Effect.void;
    });

  readonly putIfAbsent = (
    path: string,
    body: Uint8Array,
    identity?: { readonly putId?: string },
  ): Effect.Effect<"created" | "exists", StoreError> =>
    this.#step("putIfAbsent", path, (now) => {
      if (this.#objects.has(path)) return Effect.succeed("exists" as const);
      this.#store(path, { body: new Uint8Array(body), lastModifiedMillis: now, putId: identity?.putId });
      return Effect.succeed("created" as const);
    });

  readonly list = (prefix: string, startAfter?: string): Effect.Effect<ListPage, StoreError> =>
    Effect.suspend((): Effect.Effect<ListPage, StoreError> => {
      const problem = folderProblem(prefix);
      if (problem !== undefined) return Effect.fail(problem);
      const names = this.#names();
      const objects: Array<ObjectMeta> = [];
      let at = firstAtOrAfter(names, prefix);
      if (startAfter !== undefined) {
        const after = firstAtOrAfter(names, startAfter);
        at = Math.max(at, names[after] === startAfter ? after + 1 : after);
      }
      for (; at < names.length && names[at]!.startsWith(prefix); at++) {
        if (objects.length === PAGE_LIMIT) return Effect.succeed({ objects, truncated: true });
        objects.push(meta(names[at]!, this.#objects.get(names[at]!)!));
      }
      return Effect.succeed({ objects, truncated: false });
    });

  readonly delete = (path: string): Effect.Effect<void, StoreError> =>
    this.#step("delete", path, () => {
      this.remove(path);
      return Effect.void;
    });

  readonly copy = (source: string, target: string): Effect.Effect<void, StoreError> =>
    this.#step("copy", target, (now) =>
      this.#withObject("copy", source, (object) => {
        this.#store(target, { body: object.body, lastModifiedMillis: now, putId: undefined });
        return Effect.void;
      }));

  readonly upload = (path: string): Effect.Effect<Upload, StoreError> =>
    this.#step("upload", path, () => {
      let parts: Array<Uint8Array> = [];
      let state: "open" | "completed" | "aborted" = "open";
      const upload: Upload = {
        write: (bytes) =>
          Effect.suspend(() => {
            if (state !== "open") return Effect.die(new Error(`Cannot write to the upload of ${path}: it is ${state}`));
            parts.push(new Uint8Array(bytes));
            return Effect.void;
          }),
        complete: this.#step("upload", path, (now) => {
          if (state === "aborted") return Effect.fail(notFound("upload", path, "the upload was aborted"));
          // A second `complete` is what a retry after a lost answer looks like.
          if (state === "open") {
            this.#store(path, { body: joinChunks(parts), lastModifiedMillis: now, putId: undefined });
          }
          state = "completed";
          parts = [];
          return Effect.void;
        }),
        abort: Effect.sync(() => {
          if (state === "open") state = "aborted";
          parts = [];
        }),
      };
      return Effect.succeed(upload);
    });

  objects(): ReadonlyArray<string> {
    return this.#names().slice();
  }

  peek(path: string): Uint8Array | undefined {
    return this.#objects.get(path)?.body.slice();
  }

  plant(path: string, body: Uint8Array, options: PlantOptions = {}): void {
    this.#store(path, {
      body: new Uint8Array(body),
      lastModifiedMillis: options.lastModifiedMillis ?? 0,
      putId: options.putId,
    });
  }

  remove(path: string): boolean {
    if (!this.#objects.delete(path)) return false;
    if (this.#sorted !== undefined) this.#sorted.splice(firstAtOrAfter(this.#sorted, path), 1);
    return true;
  }

  get totalBytes(): number {
    let sum = 0;
    for (const object of this.#objects.values()) sum += object.body.length;
    return sum;
  }

  snapshot(): MemorySnapshot {
    return { objects: new Map(this.#objects) };
  }

  restore(snapshot: MemorySnapshot | MemoryStore): void {
    const from = "snapshot" in snapshot ? snapshot.snapshot() : snapshot;
    this.#objects = new Map(from.objects as ReadonlyMap<string, StoredObject>);
    this.#sorted = undefined;
  }

  clone(): MemoryStore {
    const copy = new InMemoryStore();
    copy.restore(this);
    return copy;
  }

  /** One request that changes something: checks the name, then runs `step` with the time of the fiber's clock. */
  #step<A>(
    op: StoreOp,
    path: string,
    step: (now: number) => Effect.Effect<A, StoreError>,
  ): Effect.Effect<A, StoreError> {
    return Effect.withFiber((fiber) => {
      const problem = nameProblem(op, path);
      return problem === undefined ? step(fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()) : Effect.fail(problem);
    });
  }

  #withObject<A>(
    op: StoreOp,
    path: string,
    use: (object: StoredObject) => Effect.Effect<A, StoreError>,
  ): Effect.Effect<A, StoreError> {
    const object = this.#objects.get(path);
    // Only good names are ever stored, so a hit needs no check.
    return object === undefined ? Effect.fail(nameProblem(op, path) ?? notFound(op, path)) : use(object);
  }

  #store(path: string, object: StoredObject): void {
    if (this.#sorted !== undefined && !this.#objects.has(path)) {
      this.#sorted.splice(firstAtOrAfter(this.#sorted, path), 0, path);
    }
    this.#objects.set(path, object);
  }

  #names(): Array<string> {
    return this.#sorted ??= [...this.#objects.keys()].sort(compareNames);
  }
}

function meta(path: string, object: StoredObject): ObjectMeta {
  return { path, size: object.body.length, lastModifiedMillis: object.lastModifiedMillis };
}

function readRange(
  op: StoreOp,
  path: string,
  object: StoredObject,
  range: ByteRange,
): Effect.Effect<Uint8Array, StoreError> {
  checkRange(range);
  const end = range.offset + range.length;
  if (end > object.body.length) return Effect.fail(pastTheEnd(op, path, range, object.body.length));
  return Effect.succeed(object.body.slice(range.offset, end));
}

/** Index of the first name that is not before `name`. */
function firstAtOrAfter(names: ReadonlyArray<string>, name: string): number {
  let low = 0;
  let high = names.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareNames(names[middle]!, name) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
