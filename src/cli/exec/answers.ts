/**
 * Answers to steps: what each operation's `ok` looks like, which error is which kind, and how large an answer may be.
 *
 * Bytes are `{"hex":"…"}` in answers, whatever they hold, so that a script needs one way to read them.
 *
 * @module
 */
import { toHex } from "../../bytes/hex.ts";
import type { Entry, Scan, WriteResult } from "../../db/api.ts";
import { asDbError } from "../../db/failures.ts";
import { type Closed, InvalidArgument, TransactionConflict } from "../../errors.ts";
import { CommandFailure } from "../usage_error.ts";
import type { Json } from "./step_values.ts";

/** The answer to one step. */
export type Answer = { readonly ok: Json } | ErrorAnswer;

/** The answer to a step that failed. */
export interface ErrorAnswer {
  /** The kind. */
  readonly error: string;
  readonly message: string;
  /** What it is within its kind, as the error of the API says it; that of a loop is that of its step. */
  readonly reason?: string;
  /** Of a conflict: the first key in the way. */
  readonly key?: Json;
  /** Of a conflict: the first range in the way, open where a side is absent. */
  readonly range?: { readonly from?: Json; readonly to?: Json };
  /** Of a conflict: the number of the write in the way. */
  readonly seq?: number;
}

/** Most characters of one answer; above it the step fails instead of filling the memory. */
export const ANSWER_CHARS_MAX: number = 256 * 1024 * 1024;

/** What a check of the store found wrong: kind "CheckFailed". */
export class CheckFailed extends Error {
  override readonly name = "CheckFailed";
}

/** An error inside a loop: its kind is that of the cause. */
export class LoopFailure extends Error {
  override readonly name = "LoopFailure";
}

/** Bytes, or null for none. */
export function bytesJson(bytes: Uint8Array | undefined): Json {
  if (bytes === undefined) return null;
  demandRoom(2 * bytes.length);
  return { hex: toHex(bytes) };
}

/** Key and value, or null at the end. */
export function pairJson(entry: Pick<Entry, "key" | "value"> | undefined): Json {
  if (entry === undefined) return null;
  demandRoom(2 * (entry.key.length + entry.value.length));
  return [bytesJson(entry.key), bytesJson(entry.value)];
}

/** What `getKeyValue` answers; null when the key is absent. */
export function entryJson(entry: Entry | undefined): Json {
  if (entry === undefined) return null;
  return {
    value: bytesJson(entry.value),
    seq: entry.seq,
    createTs: entry.createdAt,
    expireTs: entry.expiresAt ?? null,
    expiresAfter: entry.expiresAt === undefined ? null : entry.expiresAt - entry.createdAt,
  };
}

/** What a write answers. */
export function writeJson({ seq, createdAt }: WriteResult): Json {
  return { seq, createTs: createdAt };
}

/** What a commit answers. */
export function commitJson(result: WriteResult | undefined): Json {
  return { result: result === undefined ? "nothing" : "written", seq: result?.seq ?? null };
}

/** Why a handle is closed, null while it is open. */
export function reasonJson(reason: Closed["reason"] | undefined): Json {
  return reason === undefined ? null : `${reason[0]!.toUpperCase()}${reason.slice(1)}`;
}

/** Rows of a scan: all, or the first `limit` with the iterator dropped after them. */
export async function rowsJson(scan: Scan, limit: number | undefined): Promise<Json> {
  const rows: Json[] = [];
  let room = ANSWER_CHARS_MAX;
  const add = (entry: Entry) => {
    room -= charsOf(entry);
    if (room < 0) throw tooLong();
    rows.push([bytesJson(entry.key), bytesJson(entry.value)]);
  };
  if (limit === undefined) {
    for await (const batch of scan.batches()) batch.forEach(add);
    return rows;
  }
  const iterator = scan.iterator();
  try {
    while (rows.length < limit) {
      const entry = await iterator.next();
      if (entry === undefined) break;
      add(entry);
    }
  } finally {
    await iterator.return();
  }
  return rows;
}

const PUNCTUATION_CHARS = 24;
const charsOf = ({ key, value }: Entry): number => 2 * (key.length + value.length) + PUNCTUATION_CHARS;

/** About how many characters a value has as JSON; never less than it has by more than its punctuation. */
export function jsonChars(value: Json): number {
  if (typeof value === "string") return value.length + 3;
  if (typeof value !== "object" || value === null) return 12;
  let chars = 2;
  for (const [name, item] of Object.entries(value)) chars += name.length + 4 + jsonChars(item as Json);
  return chars;
}

/** Refuses an answer that would be too large. @throws InvalidArgument reason "answer-too-long" */
export function demandRoom(chars: number): void {
  if (chars > ANSWER_CHARS_MAX) throw tooLong();
}

function tooLong(): InvalidArgument {
  return new InvalidArgument({
    reason: "answer-too-long",
    message: `Cannot answer: the answer would be longer than ${ANSWER_CHARS_MAX} characters; read less at once, ` +
      "by a limit, or by iter and next",
  });
}

/** The kind of an error, by which answers and scenarios name it. */
export function errorKind(error: unknown): string {
  if (error instanceof LoopFailure) return errorKind(error.cause);
  if (error instanceof CheckFailed) return "CheckFailed";
  if (error instanceof CommandFailure) return "Unavailable";
  const failure = asDbError(error);
  switch (failure._tag) {
    case "InvalidArgument":
      return failure.reason === "merge-operator-missing" ? "MergeOperatorMissing" : "InvalidArgument";
    case "Closed":
      return { clean: "Closed", fenced: "Fenced", failed: "Failed" }[failure.reason];
    case "TransactionConflict":
      return "Conflict";
    case "DataError":
      return "Data";
    default:
      return failure._tag;
  }
}

/** The answer to a step that failed. */
export function errorAnswer(error: unknown): ErrorAnswer {
  const isOwn = error instanceof LoopFailure || error instanceof CheckFailed || error instanceof CommandFailure;
  const message = isOwn ? error.message : asDbError(error).message;
  let cause = error;
  while (cause instanceof LoopFailure) cause = cause.cause;
  return { error: errorKind(cause), message, ...details(cause) };
}

/** What programs may want to know of an error besides its kind. */
function details(error: unknown): Partial<ErrorAnswer> {
  if (error instanceof CheckFailed) return {};
  if (error instanceof CommandFailure) return { reason: error.reason };
  const failure = asDbError(error);
  if (!(failure instanceof TransactionConflict)) return { reason: failure.reason };
  const { reason, key, range, seq } = failure;
  return {
    reason,
    ...(key === undefined ? {} : { key: bytesJson(key) }),
    ...(range === undefined ? {} : {
      range: {
        ...(range.gte.length === 0 ? {} : { from: bytesJson(range.gte) }),
        ...(range.lt === undefined ? {} : { to: bytesJson(range.lt) }),
      },
    }),
    ...(seq === undefined ? {} : { seq }),
  };
}
