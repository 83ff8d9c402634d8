/**
 * Every error that leaves the engine, and the two that stay inside it.
 *
 * Six public classes: {@linkcode InvalidArgument}, {@linkcode TransactionConflict}, {@linkcode Closed},
 * {@linkcode Unavailable}, {@linkcode DataError}, {@linkcode Internal}. Finer differences are a `reason`. All are
 * `Error`s with a `_tag`, so `instanceof`, `catchTag` and `switch (error._tag)` work alike. A broken invariant of the
 * engine is a defect, never one of these, except at the public face where it becomes {@linkcode Internal}.
 *
 * @module
 */
import { type Cause, Data } from "effect";

/** Constructor type of a tagged error, written out so that it needs no inference. */
export type TaggedErrorBase<Tag extends string, Fields extends Record<string, unknown>> = new (
  fields: Fields,
) => Cause.YieldableError & { readonly _tag: Tag } & Readonly<Fields>;

const InvalidArgumentBase: TaggedErrorBase<"InvalidArgument", {
  /** Machine-readable kind, such as `"key-empty"`, `"options"`, `"range-empty"` or `"merge-operator-missing"`. */
  readonly reason: string;
  /** What was wrong, where, and what to do. */
  readonly message: string;
  readonly cause?: unknown;
}> = Data.TaggedError("InvalidArgument");

/** The caller asked for something that cannot be done. Nothing was changed and no sequence number was taken. */
export class InvalidArgument extends InvalidArgumentBase {
  /** Name of the class, for stack traces. */
  override readonly name = "InvalidArgument";
}

const TransactionConflictBase: TaggedErrorBase<"TransactionConflict", {
  /**
   * Since the transaction began somebody wrote a key that it writes ("write"), a key that it read ("read"), or a key in
   * a range that it scanned ("range"); or nobody knows any more ("history-lost"). A put was refused because its key is
   * there ("exists"), or has another newest version than it named ("seq").
   */
  readonly reason: string;
  /** What was in the way, and what to do. */
  readonly message: string;
  /** The first key found in the way; absent when two ranges meet, and when nobody knows. */
  readonly key?: Uint8Array;
  /** The range that was scanned, or deleted as a whole: `gte` is empty for "from the first key", `lt` absent for "on". */
  readonly range?: { readonly gte: Uint8Array; readonly lt?: Uint8Array };
  /** Sequence number of the write that was in the way; with reason "seq" the key's newest one, 0 for none. */
  readonly seq?: number;
}> = Data.TaggedError("TransactionConflict");

/**
 * Somebody else wrote what this transaction wrote or read, or the condition of a put does not hold. Nothing was applied
 * and no sequence number was taken; run the transaction again.
 */
export class TransactionConflict extends TransactionConflictBase {
  /** Name of the class, for stack traces. */
  override readonly name = "TransactionConflict";
}

/** Why a database takes no more calls. */
export type CloseReason = "clean" | "fenced" | "failed";

const ClosedBase: TaggedErrorBase<"Closed", {
  readonly reason: CloseReason;
  readonly message: string;
  readonly cause?: unknown;
}> = Data.TaggedError("Closed");

/**
 * What was asked is closed: by `close()` ("clean"), because another writer took over ("fenced"), or because a part of
 * the engine failed ("failed", see `cause`). The message says what: the database, a reader, a compactor, or a cursor,
 * whose end is no matter of the database. Open it again to go on; after "fenced" only on purpose.
 */
export class Closed extends ClosedBase {
  /** Name of the class, for stack traces. */
  override readonly name = "Closed";
}

const UnavailableBase: TaggedErrorBase<"Unavailable", {
  readonly reason: string;
  readonly message: string;
  readonly cause?: unknown;
}> = Data.TaggedError("Unavailable");

/** The object store refused or did not answer within the deadline. Try again later; nothing is known to be damaged. */
export class Unavailable extends UnavailableBase {
  /** Name of the class, for stack traces. */
  override readonly name = "Unavailable";
}

/** What is wrong with a stored object. */
export type DataErrorReason =
  | "checksum"
  | "truncated"
  | "malformed"
  | "unsupported-version"
  | "unsupported-codec"
  | "too-large"
  | "missing-object"
  | "not-initialized"
  | "wal-gap"
  | "checkpoint-missing"
  | "view-expired"
  | "gone";

const DataErrorBase: TaggedErrorBase<"DataError", {
  /** Name of the damaged or missing object, relative to the store's root. */
  readonly object: string;
  /** Part of the object: "manifest", "footer", "info", "index", "filter", "block 3", "stats", "wal". */
  readonly section: string;
  /** Byte offset inside the object where the problem was seen; 0 when unknown. */
  readonly offset: number;
  readonly reason: DataErrorReason;
  readonly detail?: string;
  /** With reason "gone": the oldest sequence number from which changes are still available. */
  readonly oldestSeq?: number;
  readonly cause?: unknown;
}> = Data.TaggedError("DataError");

/** A stored object is damaged, missing, or written by a version this engine does not know. Never a wrong value. */
export class DataError extends DataErrorBase {
  /** Name of the class, for stack traces. */
  override readonly name = "DataError";
  /** What was wrong and where. */
  override get message(): string {
    const detail = this.detail === undefined ? "" : `: ${this.detail}`;
    return `Cannot read ${this.object} (${this.section}, offset ${this.offset}): ${this.reason}${detail}`;
  }
}

const InternalBase: TaggedErrorBase<"Internal", {
  /** "defect". */
  readonly reason: string;
  readonly message: string;
  readonly cause?: unknown;
}> = Data.TaggedError("Internal");

/** A bug in the engine. Please report it with the cause. */
export class Internal extends InternalBase {
  /** Name of the class, for stack traces. */
  override readonly name = "Internal";
}

/** Everything the public API can fail with. */
export type DbError = InvalidArgument | TransactionConflict | Closed | Unavailable | DataError | Internal;

/** Kinds of object-store request. */
export type StoreOp =
  | "get"
  | "getRange"
  | "getRanges"
  | "head"
  | "put"
  | "putIfAbsent"
  | "list"
  | "delete"
  | "deleteMany"
  | "copy"
  | "upload";

/** What went wrong with a store request, as the adapter saw it. */
export type StoreErrorReason =
  | "not-found"
  | "unavailable"
  | "throttled"
  | "timeout"
  | "conflict"
  | "permission"
  | "disk-full"
  | "short-read"
  | "invalid-path"
  | "unsupported";

const StoreErrorBase: TaggedErrorBase<"StoreError", {
  readonly op: StoreOp;
  readonly path: string;
  readonly reason: StoreErrorReason;
  /** Whether the same request may succeed later. Decided by the adapter, not by callers. */
  readonly retryable: boolean;
  /** Whether the request may have taken effect although it failed. */
  readonly outcome: "none" | "unknown";
  /** What a person should know besides, such as the folder of the store. */
  readonly detail?: string | undefined;
  readonly cause?: unknown;
}> = Data.TaggedError("StoreError");

/** The object store refused or did not answer. Stays inside the engine; leaves it as `Unavailable` or `DataError`. */
export class StoreError extends StoreErrorBase {
  /** Name of the class, for stack traces. */
  override readonly name = "StoreError";
  /** What was wrong and where. */
  override get message(): string {
    const detail = this.detail === undefined ? "" : `: ${this.detail}`;
    return `Cannot ${this.op} ${this.path}: ${this.reason}${detail}`;
  }
}

/** The same error as the caller knows it: of another request or name, or with another outcome. */
export function storeErrorWith(
  { op, path, reason, retryable, outcome, detail, cause }: StoreError,
  changed: Partial<Pick<StoreError, "op" | "path" | "outcome">>,
): StoreError {
  return new StoreError({ op, path, reason, retryable, outcome, detail, cause, ...changed });
}

/**
 * Bytes that are not what the format says. Thrown by the pure codecs, which do not know the object's name;
 * whoever holds the name turns it into {@linkcode DataError}.
 */
export class FormatError extends Error {
  /** Name of the class, for stack traces. */
  override readonly name = "FormatError";
  /** Part of the object, as in {@linkcode DataError}. */
  readonly section: string;
  /** Byte offset inside the section or object. */
  readonly offset: number;
  /** What is wrong. */
  readonly reason: DataErrorReason;
  /** Free text: what was found and what was expected. */
  readonly detail: string;

  constructor(section: string, offset: number, reason: DataErrorReason, detail: string) {
    super(`${section} at ${offset}: ${reason}: ${detail}`);
    this.section = section;
    this.offset = offset;
    this.reason = reason;
    this.detail = detail;
  }

  /** The public error for this damage in `object`; `base` is added to the offset. */
  toDataError(object: string, base: number = 0): DataError {
    return new DataError({
      object,
      section: this.section,
      offset: base + this.offset,
      reason: this.reason,
      detail: this.detail,
      cause: this,
    });
  }
}

/**
 * What a reader of `object` fails with when its decoder threw `error`; what is no {@linkcode FormatError} is thrown on.
 *
 * @param base where the decoded bytes begin in the object; added to the error's offset
 */
export function damageIn(object: string, base: number, error: unknown): DataError {
  if (error instanceof FormatError) return error.toDataError(object, base);
  throw error;
}

/**
 * What `decode` answers; damage names the object.
 *
 * @param base where the decoded bytes begin in the object
 * @throws DataError
 */
export function decoded<A>(object: string, base: number, decode: () => A): A {
  try {
    return decode();
  } catch (error) {
    throw damageIn(object, base, error);
  }
}

/** What a thrown value says, whatever was thrown. Never throws itself. */
export function textOf(cause: unknown): string {
  if (cause instanceof Error) return cause.message;
  try {
    return String(cause);
  } catch {
    return "a value that cannot be printed";
  }
}
