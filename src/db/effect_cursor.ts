/**
 * A cursor of the Effect face.
 *
 * @module
 */
import { Effect, Semaphore } from "effect";
import type { DbError } from "../errors.ts";
import { keyBytes } from "../lsm/key_range.ts";
import { type CursorTask, TO_FIRST, TO_GE, TO_LAST, TO_LT, TO_NEXT, TO_PREV } from "../lsm/row_cursor.ts";
import { type Bytes, type Entry, NOT_CACHED } from "./api.ts";
import type { CursorSource } from "./cursor_source.ts";
import { asDbError } from "./failures.ts";

/** A cursor as effects, closed when its scope ends; the moves are those of the Promise face's `Cursor`. */
export interface EffectCursor {
  /** To the first row of the range. */
  readonly first: Effect.Effect<Entry | undefined, DbError>;
  /** To the last row of the range. */
  readonly last: Effect.Effect<Entry | undefined, DbError>;
  /** To the next row; before the first row: to the first. */
  readonly next: Effect.Effect<Entry | undefined, DbError>;
  /** To the row before; after the last row: to the last. */
  readonly prev: Effect.Effect<Entry | undefined, DbError>;
  /** To the row with the smallest key at or after `key`. */
  readonly seekGE: (key: Bytes) => Effect.Effect<Entry | undefined, DbError>;
  /** To the row with the largest key before `key`. */
  readonly seekLT: (key: Bytes) => Effect.Effect<Entry | undefined, DbError>;
  /** The row that the last finished move answered. */
  readonly current: Effect.Effect<Entry | undefined>;
}

/** The Effect face of an open cursor. Moves of several fibers are made one after another. */
export function effectCursor(source: CursorSource): EffectCursor {
  const turns = Semaphore.makeUnsafe(1);
  let isBusy = false;
  const wait = (task: CursorTask, key: Uint8Array | undefined) =>
    turns.withPermits(1)(Effect.suspend(() => {
      isBusy = true;
      return Effect.ensuring(
        source.move(task, key),
        Effect.sync(() => void (isBusy = false)),
      );
    }));
  const move = (task: CursorTask, to?: () => Uint8Array): Effect.Effect<Entry | undefined, DbError> =>
    Effect.suspend(() => {
      try {
        const key = to?.();
        if (!isBusy) {
          const entry = source.tryMove(task, key);
          if (entry !== NOT_CACHED) return Effect.succeed(entry);
        }
        return wait(task, key?.slice());
      } catch (error) {
        return Effect.fail(asDbError(error));
      }
    });
  return {
    first: move(TO_FIRST),
    last: move(TO_LAST),
    next: move(TO_NEXT),
    prev: move(TO_PREV),
    seekGE: (key) => move(TO_GE, () => keyBytes(key)),
    seekLT: (key) => move(TO_LT, () => keyBytes(key)),
    current: Effect.sync(() => source.current),
  };
}
