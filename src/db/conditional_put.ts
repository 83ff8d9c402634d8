/**
 * Puts that depend on what the key holds: "only if it is absent", "only if its newest version is this one".
 *
 * What decides is the newest version at the moment of application. Where memory cannot tell it, the store is asked at
 * once, while the put waits for its turn; what was written meanwhile is known from the conflict history. Should that
 * have touched the key, it is looked up again when the put is in front of the queue: nothing is applied behind its back
 * then, so a second answer is final. Until then later writes wait, since they take effect after this one.
 *
 * @module
 */
import { Cause, Effect, Exit } from "effect";
import { InvalidArgument } from "../errors.ts";
import type { ConflictHistory, Watch } from "../state/conflicts.ts";
import { keyText } from "../state/key_spans.ts";
import { NOT_CACHED, type PutOptions } from "./api.ts";
import { badOption } from "./call_options.ts";
import { refusedPut } from "./conflict_errors.ts";
import type { Reader } from "./reads.ts";
import type { Runtime } from "./runtime.ts";

/** What a put asks for: the sequence number that its key's newest version has, 0 for none. */
export type Condition = number;

/** The condition that the options of a put name. @throws InvalidArgument reason "options" */
export function conditionOf({ ifAbsent, ifSeq }: PutOptions): Condition | undefined {
  if (ifAbsent !== undefined && typeof ifAbsent !== "boolean") throw badOption("ifAbsent", "true or false");
  if (ifSeq === undefined) return ifAbsent === true ? 0 : undefined;
  if (!(Number.isSafeInteger(ifSeq) && ifSeq >= 1)) {
    throw badOption("ifSeq", "the seq of an entry: a whole number of at least 1");
  }
  if (ifAbsent === true) {
    throw new InvalidArgument({
      reason: "options",
      message: "Cannot put with both ifAbsent and ifSeq: a key is absent or has a version. Give one of them",
    });
  }
  return ifSeq;
}

/** What looking up takes that a write depends on. */
export interface LookupHost {
  /** Reads the newest versions, without folding. */
  readonly reader: Reader;
  readonly runtime: Runtime;
  readonly conflicts: ConflictHistory;
  /** Sequence number of the newest applied write. */
  readonly lastSeq: () => number;
  /** What was asked of the store is known now. */
  readonly onKnown: () => void;
}

/** What is known of the newest version of one key. */
export class NewestVersion {
  readonly #host: LookupHost;
  readonly #key: Uint8Array;
  /** Open while an answer of the store is awaited or kept. */
  #watch: Watch | undefined = undefined;
  /** What the store answered, as of the watch's beginning. */
  #answer: Exit.Exit<number, unknown> | undefined = undefined;

  /** @param key belongs to this object */
  constructor(host: LookupHost, key: Uint8Array) {
    this.#host = host;
    this.#key = key;
  }

  /** Whether the version can be told now; if not, the store is being asked and `onKnown` will be called. */
  isKnown(): boolean {
    if (this.#watch !== undefined) {
      if (this.#answer === undefined) return false;
      if (!this.#isOutdated(this.#watch)) return true;
      this.forget();
    }
    try {
      if (this.#inMemory() !== NOT_CACHED) return true;
    } catch {
      // Damage, say. It is met again, and thrown, by who asks for the version.
      return true;
    }
    this.#ask();
    return false;
  }

  /** Lets go of what is held. */
  forget(): void {
    if (this.#watch !== undefined) this.#host.conflicts.end(this.#watch);
    this.#watch = undefined;
    this.#answer = undefined;
  }

  /**
   * Refuses a put whose condition does not hold. Only right after `isKnown` said yes.
   *
   * @throws TransactionConflict "exists" or "seq", and what the lookup failed with
   */
  assert(condition: Condition): void {
    const answer = this.#answer;
    if (answer !== undefined && Exit.isFailure(answer)) throw Cause.squash(answer.cause);
    const seq = answer === undefined ? this.#inMemory() as number : answer.value;
    if (seq !== condition) throw refusedPut(this.#key, condition, seq);
  }

  #inMemory(): number | typeof NOT_CACHED {
    const row = this.#host.reader.tryGet(this.#key);
    return row === NOT_CACHED ? row : row?.seq ?? 0;
  }

  #isOutdated(watch: Watch): boolean {
    const { conflicts } = this.#host;
    return !conflicts.isComplete(watch) || conflicts.check(watch, { keys: [keyText(this.#key)] }) !== undefined;
  }

  #ask(): void {
    const { conflicts, runtime, reader, lastSeq, onKnown } = this.#host;
    const watch = conflicts.watch(lastSeq());
    this.#watch = watch;
    runtime.fork(Effect.onExit(reader.fetch(this.#key), (exit) =>
      Effect.sync(() => {
        if (this.#watch !== watch) return;
        this.#answer = Exit.map(exit, (row) => row?.seq ?? 0);
        onKnown();
      })));
  }
}
