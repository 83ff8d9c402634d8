/**
 * The engine's two-way cursor over a tree.
 *
 * @module
 */
import type { PebbleTree } from "./pebble_tree.ts";
import type { TwoWayCursor, WalkBounds } from "./user_walk.ts";

/** A cursor of a read that sees numbers below `seq`. */
export function openTreeCursor(_tree: PebbleTree, _seq: number, _bounds: WalkBounds): TwoWayCursor {
  throw new Error("there is no two-way cursor yet");
}
