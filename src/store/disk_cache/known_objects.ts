/**
 * What a disk cache remembers of objects: their names in the folder, and their sizes where it had to ask.
 *
 * @module
 */
import { type CachedObject, cachedObject } from "./part_name.ts";

/** Objects that are remembered; then all are forgotten. */
const OBJECTS_MAX = 1024;

/** Objects by name. */
export class KnownObjects {
  readonly #identity: string;
  readonly #partBytes: number;
  readonly #objects: Map<string, CachedObject> = new Map();
  readonly #sizes: Map<string, number> = new Map();

  constructor(identity: string, partBytes: number) {
    this.#identity = identity;
    this.#partBytes = partBytes;
  }

  /** The object of this name. */
  object(path: string): CachedObject {
    let object = this.#objects.get(path);
    if (object === undefined) {
      object = cachedObject(this.#identity, path, this.#partBytes);
      if (this.#objects.size >= OBJECTS_MAX) this.#objects.clear();
      this.#objects.set(path, object);
    }
    return object;
  }

  /** Its size, bytes; undefined when nobody asked the store. */
  size(path: string): number | undefined {
    return this.#sizes.get(path);
  }

  /** The store has told its size. */
  learn(path: string, size: number): void {
    if (this.#sizes.size >= OBJECTS_MAX) this.#sizes.clear();
    this.#sizes.set(path, size);
  }

  /** It was replaced or deleted. */
  forget(path: string): void {
    this.#sizes.delete(path);
  }
}
