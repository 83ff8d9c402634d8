/**
 * The compactions object as the one compactor of a database keeps it, under its epoch.
 *
 * Taking over is two steps: the journal of the compactor before is read, then the epoch in the manifest is raised. It is
 * rewritten with the first change that follows, so that a takeover without work costs nothing more. An older compactor
 * that still writes its journal changes nothing that counts: it can not publish (the manifest's epoch is checked in the
 * same commit), and a write that meets its version is redone on top.
 *
 * Invariants: J1 entries are active, or the one that finished last; J2 no active entry carries outputs (decision D21);
 * J3 ids ascend.
 *
 * @module
 */
import { Effect } from "effect";
import { DataError } from "../errors.ts";
import type { CompactionRecord, CompactionStatus, Manifest, Ulid } from "../format/types.ts";
import { CompactorFenced } from "./compaction_faults.ts";
import type { CompactionsStore, StoredCompactions } from "./compactions_store.ts";
import type { ManifestFault, ManifestHandle } from "./manifest_handle.ts";

/** Everything a compactor's request can fail with. */
export type CompactorFault = ManifestFault | CompactorFenced;

/** Whether an entry is still to be done. */
export function isActive(record: CompactionRecord): boolean {
  return record.status === "submitted" || record.status === "running";
}

/** The journal of the compactor that holds the epoch. */
export class CompactionJournal {
  readonly #versions: CompactionsStore;
  readonly epoch: number;
  #stored: StoredCompactions | undefined;

  private constructor(versions: CompactionsStore, epoch: number, stored: StoredCompactions | undefined) {
    this.#versions = versions;
    this.epoch = epoch;
    this.#stored = stored;
  }

  /**
   * Takes the compactor's place: reads the journal, then claims the next epoch. A journal that cannot be read is left to
   * whoever can: then nothing is claimed.
   *
   * @param expected the epoch that was seen before; when another one is stored by now, another compactor works here and
   * the claim is refused. Undefined: take over whoever it is.
   * @param onClaimed told the epoch as soon as it is stored
   */
  static open(
    versions: CompactionsStore,
    manifest: ManifestHandle,
    expected: number | undefined,
    onClaimed: (epoch: number) => void,
  ): Effect.Effect<CompactionJournal, CompactorFault> {
    return Effect.gen(function* () {
      const found = yield* versions.newest;
      const epoch = yield* claimCompactorEpoch(manifest, expected);
      onClaimed(epoch);
      const newest = found?.compactions.compactorEpoch ?? -1;
      if (newest >= epoch) return yield* Effect.fail(new CompactorFenced(newest, epoch));
      return new CompactionJournal(versions, epoch, found);
    });
  }

  /** Whether there is a compactions object. */
  get isStored(): boolean {
    return this.#stored !== undefined;
  }

  /** The entries, ascending by id. */
  get records(): ReadonlyArray<CompactionRecord> {
    return this.#stored?.compactions.recentCompactions ?? [];
  }

  /** Looks for entries that somebody else submitted. */
  readonly refresh: Effect.Effect<void, CompactorFault> = Effect.suspend(() => {
    const known = this.#stored;
    const newer = known === undefined ? this.#versions.newest : this.#versions.newerThan(known);
    return Effect.flatMap(newer, (found) => found === undefined ? Effect.void : this.#accept(found));
  });

  /** Whether an entry is recorded and still to be done. */
  isActive(id: Ulid): boolean {
    return this.records.some((record) => record.id === id && isActive(record));
  }

  /** Records `changes`: entries by id, new or with a new status. Does nothing when all of them are there already. */
  record(changes: ReadonlyArray<CompactionRecord>): Effect.Effect<void, CompactorFault> {
    return Effect.gen({ self: this }, function* () {
      let unseen = 0;
      while (true) {
        const base = this.#stored;
        const next = merged(this.records, changes);
        const isClaimed = base?.compactions.compactorEpoch === this.epoch;
        if (isClaimed && sameRecords(next, this.records)) return;
        const answer = yield* this.#versions.createNext(base, {
          compactorEpoch: this.epoch,
          recentCompactions: next,
        });
        if (answer !== "exists") {
          this.#stored = answer;
          return;
        }
        yield* this.refresh;
        // The id after `base` is taken, so there is a newer version: the store may only not list it yet.
        if (this.#stored !== base) continue;
        if (++unseen === UNSEEN_MAX) return yield* unlisted(this.#versions.pathOf((base?.id ?? 0) + 1));
        yield* Effect.sleep(CONFLICT_PAUSE_MILLIS);
      }
    });
  }

  #accept(found: StoredCompactions): Effect.Effect<void, CompactorFenced> {
    const epoch = found.compactions.compactorEpoch;
    if (epoch > this.epoch) return Effect.fail(new CompactorFenced(epoch, this.epoch));
    // A look that began earlier may end later. The same version is kept for when it was last known to be the newest:
    // without that, every look after half a minute would be a listing.
    if (found.id >= (this.#stored?.id ?? 0)) this.#stored = found;
    return Effect.void;
  }
}

/**
 * Takes the next compactor epoch; answers it.
 *
 * @param expected the epoch that was seen before; when another one is stored by now, another compactor works here and
 * the claim is refused. Undefined: take over whoever it is.
 */
function claimCompactorEpoch(
  manifest: ManifestHandle,
  expected: number | undefined,
): Effect.Effect<number, CompactorFault> {
  return Effect.suspend(() => {
    // A claim whose answer was lost is redone on a copy that may hold it; a second one does no harm.
    let own: number | undefined = undefined;
    return Effect.map(
      manifest.commit<CompactorFenced>((current: Manifest) => {
        const found = current.compactorEpoch;
        if (expected !== undefined && found !== expected && found !== own) return new CompactorFenced(found, expected);
        own = found + 1;
        return { ...current, compactorEpoch: own };
      }, "compactor"),
      (stored) => stored.manifest.compactorEpoch,
    );
  });
}

/** Pause before a version that is there but not seen is looked for again, ms. */
const CONFLICT_PAUSE_MILLIS = 100;
/** How often it is looked for. */
const UNSEEN_MAX = 10;

function unlisted(object: string): DataError {
  return new DataError({
    object,
    section: "compactions",
    offset: 0,
    reason: "missing-object",
    detail: "the store refuses to create this version and does not list it",
  });
}

/** An entry for a job. */
export function newRecord(
  id: Ulid,
  l0ViewIds: ReadonlyArray<Ulid>,
  sortedRuns: ReadonlyArray<number>,
): CompactionRecord {
  return { id, l0ViewIds, sortedRuns, status: "running", outputSsts: [] };
}

/** The entry with another status; it carries no outputs. */
export function withStatus(record: CompactionRecord, status: CompactionStatus): CompactionRecord {
  return { ...record, status, outputSsts: [] };
}

function merged(
  records: ReadonlyArray<CompactionRecord>,
  changes: ReadonlyArray<CompactionRecord>,
): ReadonlyArray<CompactionRecord> {
  const byId = new Map(records.map((record) => [record.id, record]));
  for (const change of changes) {
    const known = byId.get(change.id);
    // Terminal states absorb (K-26).
    if (known === undefined || isActive(known)) byId.set(change.id, change);
  }
  const all = [...byId.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  const newestFinished = all.findLast((record) => !isActive(record));
  return all
    .filter((record) => isActive(record) || record === newestFinished)
    .map((record) => isActive(record) && record.outputSsts.length > 0 ? { ...record, outputSsts: [] } : record);
}

function sameRecords(a: ReadonlyArray<CompactionRecord>, b: ReadonlyArray<CompactionRecord>): boolean {
  return a.length === b.length &&
    a.every((record, i) =>
      record.id === b[i]!.id && record.status === b[i]!.status && b[i]!.outputSsts.length === record.outputSsts.length
    );
}
