/**
 * What a refused transaction or conditional put says: which key or range was in the way, and what to do.
 *
 * @module
 */
import { shownKey } from "../bytes/shown_key.ts";
import { TransactionConflict } from "../errors.ts";
import type { Conflict } from "../state/conflicts.ts";
import { type KeySpan, textBytes } from "../state/key_spans.ts";

const AGAIN = "Nothing was applied. Run the transaction again";

function shownRange({ lower, upper }: KeySpan): string {
  const start = lower === "" ? "the first key" : shownKey(textBytes(lower));
  return `from ${start} ${upper === undefined ? "on" : `to before ${shownKey(textBytes(upper))}`}`;
}

/** The error of a transaction that `conflict` is in the way of. */
export function conflictError({ reason, key: text, range, seq }: Conflict): TransactionConflict {
  if (reason === "history-lost") {
    return new TransactionConflict({
      reason,
      message: "Cannot commit: the transaction was open for so long, or so much was written meanwhile, that what was " +
        "written since it began is no longer known (conflictHistoryBytes). " + AGAIN +
        ", make it shorter, or raise the option",
    });
  }
  const key = text === undefined ? undefined : textBytes(text);
  const what = key === undefined ? `keys ${shownRange(range!)}` : `key ${shownKey(key)}`;
  const did = reason === "write"
    ? "writes too"
    : reason === "read"
    ? "read"
    : key === undefined
    ? "scanned"
    : `scanned (${shownRange(range!)})`;
  return new TransactionConflict({
    reason,
    message: `Cannot commit: write ${seq} touched ${what}, which the transaction ${did}. ${AGAIN}`,
    ...(key === undefined ? {} : { key }),
    ...(range === undefined ? {} : { range: publicRange(range) }),
    ...(seq === undefined ? {} : { seq }),
  });
}

function publicRange({ lower, upper }: KeySpan): { readonly gte: Uint8Array; readonly lt?: Uint8Array } {
  return { gte: textBytes(lower), ...(upper === undefined ? {} : { lt: textBytes(upper) }) };
}

/**
 * The error of a put whose condition does not hold.
 *
 * @param wanted sequence number that was asked for, 0 for none
 * @param found sequence number of the newest version, 0 for none
 */
export function refusedPut(key: Uint8Array, wanted: number, found: number): TransactionConflict {
  const is = found === 0 ? "is absent" : `has version ${found}`;
  return new TransactionConflict({
    reason: wanted === 0 ? "exists" : "seq",
    message: `Cannot put: key ${shownKey(key)} ${is}, and the put was to happen only if it ` +
      `${wanted === 0 ? "is absent (ifAbsent)" : `has version ${wanted} (ifSeq)`}. Read it again before you decide`,
    key: key.slice(),
    seq: found,
  });
}
