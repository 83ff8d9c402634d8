/**
 * The user's merge operator, brought to one shape and kept at arm's length.
 *
 * Operands are applied oldest first, in batches of 100 whose results are the base of the next. User code may throw or
 * answer nonsense: both become `InvalidArgument` with reason "merge-operator-failed". It may also write into what it
 * is given, or answer the same array every time: callers hand over copies and copy a result that they keep past the
 * next call.
 *
 * @module
 */
import type { MergeOperator } from "../db/api.ts";
import { InvalidArgument, textOf } from "../errors.ts";

/** Operands that are handed to `mergeBatch` at once. */
export const MERGE_BATCH_OPERANDS = 100;

/**
 * Folds operands (at least one, oldest first) onto `base`, undefined when there is none. The key and all values are
 * the operator's to keep.
 *
 * Throws InvalidArgument with reason "merge-operator-failed" when the operator throws or does not answer bytes.
 */
export type FoldMerge = (
  key: Uint8Array,
  base: Uint8Array | undefined,
  operands: readonly Uint8Array[],
) => Uint8Array;

/**
 * The fold of a database's `mergeOperator` setting.
 *
 * @returns undefined when there is no operator here: none was given, or merges are folded "elsewhere"
 */
export function foldMerge(operator: MergeOperator | "elsewhere" | undefined): FoldMerge | undefined {
  if (operator === undefined || operator === "elsewhere") return undefined;
  if (typeof operator === "function") {
    return (key, base, operands) => {
      let value = base;
      for (const operand of operands) value = called(() => operator(key, value, operand));
      return value!;
    };
  }
  if (operator.mergeBatch === undefined) return foldMerge((key, base, operand) => operator.merge(key, base, operand));
  return (key, base, operands) => {
    let value = base;
    for (let at = 0; at < operands.length; at += MERGE_BATCH_OPERANDS) {
      const batch = operands.slice(at, at + MERGE_BATCH_OPERANDS);
      const existing = value;
      value = called(() => operator.mergeBatch!(key, existing, batch));
    }
    return value!;
  };
}

/** The same fold, telling how many operands each call is given. */
export function countedMerge(
  merge: FoldMerge | undefined,
  count: (operands: number) => void,
): FoldMerge | undefined {
  if (merge === undefined) return undefined;
  return (key, base, operands) => {
    count(operands.length);
    return merge(key, base, operands);
  };
}

/** Runs user code. */
function called(merge: () => unknown): Uint8Array {
  let value: unknown;
  try {
    value = merge();
  } catch (cause) {
    throw new InvalidArgument({
      reason: "merge-operator-failed",
      message: `The merge operator threw: ${textOf(cause)}. Make it total`,
      cause,
    });
  }
  if (value instanceof Uint8Array) return value;
  throw new InvalidArgument({
    reason: "merge-operator-failed",
    message:
      `The merge operator answered ${value === null ? "null" : typeof value}, not a Uint8Array. Make it return ` +
      "the merged bytes, at once and not as a promise",
  });
}
