/**
 * Where random identities come from: ULIDs of tables, UUIDs of checkpoints, put-ids.
 *
 * The production source is the platform's secure one and cannot be replaced by options, only by providing the
 * {@linkcode Ids} service (simulation, tests). A {@linkcode UlidMint} hands out strictly increasing ULIDs whose time is
 * never before the newest it was told of: garbage collectors compare those times and delete what looks old and unused.
 *
 * @module
 */
import { randomFillSync } from "node:crypto";
import { Context } from "effect";
import type { Ulid, Uuid } from "../format/types.ts";
import { ulidFromParts, ulidMillis, uuidFromBytes } from "../format/ulid.ts";

/** A source of random bytes. */
export interface IdsShape {
  /** `length` fresh random bytes. */
  readonly randomBytes: (length: number) => Uint8Array;
}

/** The random source of the engine; secure unless a test provides another. */
export const Ids: Context.Reference<IdsShape> = Context.Reference<IdsShape>("phyllite/env/Ids", {
  defaultValue: () => ({ randomBytes: (length: number) => randomFillSync(new Uint8Array(length)) }),
});

/** A source that is a function of its seed (32 bits), for tests and simulation only. */
export function seededIds(seed: number): IdsShape {
  let state = seed >>> 0 || 1;
  return {
    randomBytes: (length) => {
      const bytes = new Uint8Array(length);
      for (let i = 0; i < length; i++) {
        state ^= state << 13;
        state ^= state >>> 17;
        state ^= state << 5;
        bytes[i] = state >>> 24;
      }
      return bytes;
    },
  };
}

/** A random UUID (version 4), as checkpoints have it. */
export function mintUuid(ids: IdsShape): Uuid {
  const bytes = Uint8Array.from(ids.randomBytes(16));
  bytes[6] = (bytes[6]! & 0x0f) | 0x40;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  return uuidFromBytes(bytes);
}

/** An id of a later time (year 10889) leaves no room above it; it is nonsense and not followed. */
const LAST_USABLE_MILLIS = 2 ** 48 - 2 ** 20;

/** Hands out ULIDs in strictly ascending order. */
export class UlidMint {
  readonly #ids: IdsShape;
  #last: Ulid | undefined = undefined;

  constructor(ids: IdsShape) {
    this.#ids = ids;
  }

  /** Never hand out an id at or below `id` from now on. */
  observe(id: Ulid): void {
    if (ulidMillis(id) > LAST_USABLE_MILLIS) return;
    if (this.#last === undefined || id > this.#last) this.#last = id;
  }

  /** A ULID of the time max(`nowMillis`, time of the last one), above every id seen. */
  mint(nowMillis: number): Ulid {
    // Always 80 fresh random bits, never "the last one plus 1": another process may have gone on from the same id.
    let millis = Math.max(0, nowMillis, this.#last === undefined ? 0 : ulidMillis(this.#last));
    let id = ulidFromParts(millis, this.#ids.randomBytes(10));
    while (this.#last !== undefined && id <= this.#last) id = ulidFromParts(++millis, this.#ids.randomBytes(10));
    this.#last = id;
    return id;
  }
}
