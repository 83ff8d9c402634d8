/**
 * What makes a stretch of the write-ahead log worth believing, as pure parts of the change feed.
 *
 * Every object above the replay boundary of a manifest that was read after the object is committed: only the one writer
 * of its time could create it, and whoever fenced that writer replays it. At or below the boundary that proof is gone.
 * There a collector may have made room for a writer that slept through its succession, whose object no replay ever saw
 * (K-1). So an object there is believed only together with everything from it up to the boundary: no id is missing, and
 * each object begins exactly where the one before it ended, up to the number with which the log goes on above.
 *
 * Sequence numbers have no gaps, so a gap means rows that are not in the log: written with the WAL off, which a fence
 * always follows. A gap without a fence in it is a number that was never used.
 *
 * @module
 */
import { crc32 } from "../bytes/crc32.ts";
import { DataError } from "../errors.ts";
import { walPath } from "../format/paths.ts";
import { WalRows } from "../format/wal_sst.ts";

/** Objects and bytes read ahead of who consumes them, at most; one object is always allowed. */
export const AHEAD_OBJECTS = 8;
export const AHEAD_BYTES: number = 8 * 1024 * 1024;

/** A listed WAL object. */
export interface ListedWal {
  readonly id: number;
  /** Size in bytes. */
  readonly size: number;
}

/** A WAL object that is known to be there; one at or below the replay boundary with the checksum of what was proven. */
export interface BacklogEntry extends ListedWal {
  readonly checksum?: number;
}

/** What a whole WAL object holds. */
export interface WalFacts {
  /** Smallest sequence number, 0 without rows. */
  readonly firstSeq: number;
  /** Largest sequence number, 0 without rows. */
  readonly lastSeq: number;
  /** Whether the rows stand in sequence order, as this engine and 0.12.1 write them; those of older ones may not. */
  readonly ascends: boolean;
}

/** Reads all rows of an object once, so that damage anywhere in it is met before any of them is given out. */
export function factsOf(body: Uint8Array): WalFacts {
  const rows = new WalRows(body);
  let firstSeq = Infinity;
  let lastSeq = 0;
  let ascends = true;
  while (rows.next()) {
    if (rows.seq < lastSeq) ascends = false;
    else lastSeq = rows.seq;
    if (rows.seq < firstSeq) firstSeq = rows.seq;
  }
  return { firstSeq: lastSeq === 0 ? 0 : firstSeq, lastSeq, ascends };
}

/** Checksum that tells a proven object from another that took its place. */
export function checksumOf(body: Uint8Array): number {
  return crc32(body, 0, body.length);
}

/** Objects from `first` on up to the first hole; `hole` is the id that is missing although later ones are listed. */
export function contiguousFrom(
  listed: ReadonlyArray<ListedWal>,
  first: number,
): { readonly objects: ReadonlyArray<ListedWal>; readonly hole: number | undefined } {
  const start = listed.findIndex(({ id }) => id >= first);
  if (start < 0) return { objects: [], hole: undefined };
  let end = start;
  while (end < listed.length && listed[end]!.id === first + end - start) end++;
  return { objects: listed.slice(start, end), hole: end < listed.length ? first + end - start : undefined };
}

/** Objects up to `last` that leave no hole below it, newest first; empty when `last` itself is not listed. */
export function contiguousTo(listed: ReadonlyArray<ListedWal>, last: number): ReadonlyArray<ListedWal> {
  const found: ListedWal[] = [];
  for (let i = listed.length - 1; i >= 0; i--) {
    const object = listed[i]!;
    if (object.id > last) continue;
    if (object.id !== last - found.length) break;
    found.push(object);
  }
  return found;
}

/** The entries from `start` on to fetch together. */
export function fetchTogether<A extends ListedWal>(entries: ReadonlyArray<A>, start: number = 0): ReadonlyArray<A> {
  let end = start + 1;
  let bytes = entries[start]?.size ?? 0;
  while (end < entries.length && end - start < AHEAD_OBJECTS) {
    bytes += entries[end]!.size;
    if (bytes > AHEAD_BYTES) break;
    end++;
  }
  return entries.slice(start, end);
}

/** Why the log does not reach back to a wanted sequence number. */
export type GoneCause = "collected" | "wal-off" | "stray";

/** Walks down the collected part of the log, from the replay boundary to the object that holds a wanted number. */
export class HistoryProof {
  readonly #wanted: number;
  #end: number;

  /**
   * @param wanted sequence number that is looked for
   * @param end sequence number with which the next object with rows must end: the one before the log goes on above the
   *   boundary
   */
  constructor(wanted: number, end: number) {
    this.#wanted = wanted;
    this.#end = end;
  }

  /** Oldest sequence number from which the log is proven so far. */
  get oldest(): number {
    return this.#end + 1;
  }

  /** Takes the next lower object: "on" with the one below, "found" the wanted number, or why the proof ends here. */
  add(facts: WalFacts): "on" | "found" | GoneCause {
    if (facts.lastSeq === 0) return "on";
    if (facts.lastSeq !== this.#end) return facts.lastSeq < this.#end ? "wal-off" : "stray";
    this.#end = facts.firstSeq - 1;
    return facts.firstSeq <= this.#wanted ? "found" : "on";
  }
}

const CAUSES: Readonly<Record<GoneCause, string>> = {
  "collected": "the log that held it was collected",
  "wal-off": "the log never held it, as rows written with the WAL off",
  "stray": "the log that held it is not to be trusted: an object of a fenced writer stands in it",
};

/**
 * The answer to who wants changes that the log does not have.
 *
 * @param id WAL object at which the log ends, going back
 * @param wanted sequence number of the first change wanted
 * @param oldest sequence number from which the log is complete
 */
export function goneError(root: string, id: number, cause: GoneCause, wanted: number, oldest: number): DataError {
  return new DataError({
    object: walPath(root, id),
    section: "wal",
    offset: 0,
    reason: "gone",
    detail:
      `no changes from sequence number ${wanted} on: ${CAUSES[cause]}. The oldest available is ${oldest}. Start ` +
      "from a checkpoint or a scan, and go on from its sequence number + 1",
    oldestSeq: oldest,
  });
}

/** The error of a log in which a live object is missing. */
export function holeError(root: string, id: number): DataError {
  return new DataError({
    object: walPath(root, id),
    section: "wal",
    offset: 0,
    reason: "wal-gap",
    detail: "the write-ahead log has a hole; changes in it are lost. Restore the object, or start from a checkpoint",
  });
}

/** The error of an object whose numbers were given out before. */
export function repeatedError(root: string, id: number, seq: number, after: number): DataError {
  return new DataError({
    object: walPath(root, id),
    section: "wal",
    offset: 0,
    reason: "malformed",
    detail: `it begins with sequence number ${seq}, the object before it ended with ${after}`,
  });
}
