/**
 * The life of one handle's process, as the store sees it: after its end no request of that handle reaches the store.
 *
 * Invariants:
 * - A request that had left before the end may still take effect; its answer is lost.
 * - Every request after the end fails at once and for good, so that whatever still ran in the dead process ends too
 *   instead of waiting for ever.
 *
 * @module
 */
import { Effect } from "effect";
import { StoreError, type StoreOp } from "../../errors.ts";
import { COMPACTED_DIR, folderPath, MANIFEST_DIR } from "../../format/paths.ts";
import type { ObjectStoreShape, Upload } from "../../store/object_store.ts";

/** Where a process dies: before it stores a manifest, once it has stored a table. */
interface Trap {
  readonly manifests: string;
  readonly tables: string;
  hasTable: boolean;
  readonly spring: () => void;
}

/** One process' way to its stores. */
export class Lifeline {
  #isDead = false;
  #trap: Trap | undefined;

  get isDead(): boolean {
    return this.#isDead;
  }

  /** Ends the process. */
  die(): void {
    this.#isDead = true;
    this.#trap = undefined;
  }

  /**
   * Has the process die before its next manifest of the database below `root`, but not before it has stored another
   * table. Resolves when that has happened.
   */
  dieBeforeManifest(root: string): Promise<void> {
    return new Promise((resolve) => {
      this.#trap = {
        manifests: folderPath(root, MANIFEST_DIR),
        tables: folderPath(root, COMPACTED_DIR),
        hasTable: false,
        spring: resolve,
      };
    });
  }

  /** Takes back what `dieBeforeManifest` asked for. */
  spare(): void {
    this.#trap = undefined;
  }

  /** `inner` as the process reaches it. */
  over(inner: ObjectStoreShape): ObjectStoreShape {
    const { deleteMany } = inner;
    const request = <A>(op: StoreOp, path: string, asked: Effect.Effect<A, StoreError>) =>
      this.#request(op, path, asked);
    return {
      provider: inner.provider,
      get: (path) => request("get", path, inner.get(path)),
      getRange: (path, range, hint) => request("getRange", path, inner.getRange(path, range, hint)),
      getRanges: (path, ranges) => request("getRanges", path, inner.getRanges(path, ranges)),
      head: (path) => request("head", path, inner.head(path)),
      put: (path, body) => this.#creation("put", path, inner.put(path, body)),
      putIfAbsent: (path, body, identity) =>
        this.#creation("putIfAbsent", path, inner.putIfAbsent(path, body, identity)),
      list: (prefix, startAfter) => request("list", prefix, inner.list(prefix, startAfter)),
      delete: (path) => request("delete", path, inner.delete(path)),
      deleteMany: deleteMany && ((paths) => request("deleteMany", paths[0] ?? "", deleteMany(paths))),
      copy: (source, target) => this.#creation("copy", target, inner.copy(source, target)),
      upload: (path) =>
        Effect.map(request("upload", path, inner.upload(path)), (upload): Upload => ({
          write: (bytes) => request("upload", path, upload.write(bytes)),
          complete: this.#creation("upload", path, upload.complete),
          abort: Effect.suspend(() => this.#isDead ? Effect.void : upload.abort),
        })),
    };
  }

  #request<A>(op: StoreOp, path: string, asked: Effect.Effect<A, StoreError>): Effect.Effect<A, StoreError> {
    const lost = Effect.suspend(() => Effect.fail(gone(op, path)));
    return Effect.suspend(() => {
      if (this.#isDead) return lost;
      return Effect.flatMap(asked, (answer) => this.#isDead ? lost : Effect.succeed(answer));
    });
  }

  #creation<A>(op: StoreOp, path: string, asked: Effect.Effect<A, StoreError>): Effect.Effect<A, StoreError> {
    return Effect.suspend(() => {
      const trap = this.#trap;
      if (trap?.hasTable === true && path.startsWith(trap.manifests)) {
        this.die();
        trap.spring();
      }
      return Effect.map(this.#request(op, path, asked), (answer) => {
        if (this.#trap !== undefined && path.startsWith(this.#trap.tables)) this.#trap.hasTable = true;
        return answer;
      });
    });
  }
}

function gone(op: StoreOp, path: string): StoreError {
  return new StoreError({
    op,
    path,
    reason: "unsupported",
    retryable: false,
    outcome: "none",
    detail: "the handle that asks has crashed",
  });
}
