/**
 * Parts in a cache folder that must not be read any more, until their files are gone.
 *
 * An object was replaced or deleted, or a part turned out to be wrong: from that moment on nothing of it is served, and
 * nobody waits until the disk has removed it. Bounded: with more than {@linkcode DOUBTS_MAX} at once, which takes a disk
 * that answers nothing for long, nothing in the folder is believed any more.
 *
 * @module
 */
import { type CachedObject, partName } from "./part_name.ts";

/** Most that is remembered one by one. */
const DOUBTS_MAX = 16_384;

/** What is to be removed: all of an object, or one part. */
export interface Doubt {
  readonly object: CachedObject;
  /** Undefined: all parts. */
  readonly part: number | undefined;
}

/** Doubts by object and part. */
export class DoubtedParts {
  readonly #doubts: Map<string, Doubt> = new Map();
  #isFull = false;

  /** Whether there are more than can be remembered. */
  get isFull(): boolean {
    return this.#isFull;
  }

  /** Whether there is none. */
  get isEmpty(): boolean {
    return this.#doubts.size === 0 && !this.#isFull;
  }

  /** Nothing of the object, or of the part, may be read until `settle`. */
  add(object: CachedObject, part?: number): void {
    if (this.#doubts.size >= DOUBTS_MAX) this.#isFull = true;
    else this.#doubts.set(part === undefined ? object.digest : partName(object, part), { object, part });
  }

  /** Whether a part must not be read. */
  has(object: CachedObject, name: string): boolean {
    if (this.#isFull) return true;
    return this.#doubts.size > 0 && (this.#doubts.has(object.digest) || this.#doubts.has(name));
  }

  /** The oldest doubt. */
  first(): Doubt | undefined {
    for (const doubt of this.#doubts.values()) return doubt;
    return undefined;
  }

  /** The files are gone; does nothing where it was doubted again since. */
  settle(doubt: Doubt): void {
    const { object, part } = doubt;
    const key = part === undefined ? object.digest : partName(object, part);
    if (this.#doubts.get(key) === doubt) this.#doubts.delete(key);
  }
}
