/**
 * Which stored objects may be deleted: pure decisions over a listing and what was read before it.
 *
 * Everything is judged at one moment, the beginning of the pass, and by what was read in this order: the compactions
 * object, then the newest manifest, then every version that a checkpoint pins. So an object that appears later is young
 * at that moment, a table that a finished compaction published is named by the manifest, and one that a running
 * compaction may still publish is not older than the compaction.
 *
 * | object            | goes when nothing that was read reaches it, it is older than the minimum age, and …            |
 * | ----------------- | ----------------------------------------------------------------------------------------------- |
 * | WAL object        | its id is below the replay boundary and it is no fence (K-1)                                      |
 * | table             | it is older than every active compaction and than the newest L0 table, or known not to be under way |
 * | manifest version  | it is not one of the two newest (K-3)                                                           |
 * | compactions object | it is not one of the two newest                                                                |
 *
 * The age of a table counts from its id's time or from the store's, whichever is later (K-7).
 *
 * @module
 */
import { encodeEmptySst } from "../format/sst_builder.ts";
import { decodeFooter, decodeInfoSection, FOOTER_BYTES } from "../format/sst_footer.ts";
import type { Compactions, Manifest, Ulid } from "../format/types.ts";
import { ulidMillis } from "../format/ulid.ts";
import type { ObjectMeta } from "../store/object_store.ts";
import { isActive } from "./compaction_journal.ts";
import { type Reach, reachesWal, reachOf } from "./reachable.ts";

/** Why an object stays. */
export type KeepReason =
  /** The newest manifest names the table. */
  | "referenced"
  /** A version that a checkpoint pins reaches it, or it is that version. */
  | "checkpoint"
  /** A replay may read the WAL object, or the next one stands beside it. */
  | "live"
  /** It is not older than the minimum age. */
  | "young"
  /** One of the two newest versions. */
  | "newest-two"
  /** A compaction that has not ended may have made the table. */
  | "active-compaction"
  /** This process is uploading the table, or will. */
  | "in-flight"
  /** Not older than the newest L0 table: a writer elsewhere may have uploaded it and not published it yet. */
  | "newest-l0"
  /** Nothing tells which tables a writer elsewhere may have under way. */
  | "no-l0"
  /** The WAL object holds no rows: it stops a writer that was taken over (K-1). */
  | "fence"
  /** A small WAL object that cannot be read: it may be a fence. */
  | "unreadable"
  /** A boundary file says something that this collector does not understand or has not seen. */
  | "boundary"
  /** The name is not ours. */
  | "foreign"
  /** The store refused to delete it, or so many others that it was not asked. */
  | "delete-failed";

/** An object that stays. */
export interface Kept {
  readonly keep: KeepReason;
  /** Earliest time at which its age alone may let it go, ms since 1970; Infinity when no time does. */
  readonly dueAt: number;
}

/** What becomes of an object. */
export type Verdict = "delete" | Kept;

/** Minimum ages, ms. */
export interface GcAges {
  readonly minAgeMillis: number;
  /** Age at which a fence goes as well; Infinity = never. */
  readonly walFenceMinAgeMillis: number;
}

/** What was read before the first decision. */
export interface GcFacts extends GcAges {
  /** The moment of the pass, ms since 1970, by the store's clock where that is known. */
  readonly nowMillis: number;
  readonly manifestId: number;
  readonly manifest: Manifest;
  /** Number of the newest compactions object; 0 when there is none. */
  readonly compactionsId: number;
  /** Ids of the compactions that have not ended. */
  readonly active: ReadonlyArray<Ulid>;
  /** Versions that checkpoints pin, by number; the newest one needs no entry. */
  readonly pinned: ReadonlyMap<number, Reach>;
  /** Whether this process has the table under way; undefined when another process may be the writer. */
  readonly inFlight: ((id: Ulid) => boolean) | undefined;
}

/** Ids of the compactions that may still publish their outputs. */
export function activeCompactions(compactions: Compactions | undefined): Ulid[] {
  return (compactions?.recentCompactions ?? [])
    .filter(isActive)
    .map(({ id }) => id);
}

/** An object without rows is never larger than this, whoever wrote it; what is smaller is looked into. Bytes. */
const FENCE_BYTES_MAX = 256;
/** No WAL object with rows is as small as this: it adds a block and an index entry to the empty table. */
const FENCE_BYTES_CERTAIN: number = encodeEmptySst().length;

/** Whether a WAL object holds no rows: it has no bytes at all, or none before its filter. @throws FormatError */
export function isFence(bytes: Uint8Array): boolean {
  if (bytes.length === 0) return true;
  const { infoOffset } = decodeFooter(bytes, bytes.length);
  return decodeInfoSection(bytes.subarray(infoOffset, bytes.length - FOOTER_BYTES), infoOffset).filterOffset === 0;
}

/** Decides over the objects of one pass. */
export class GcJudge {
  readonly facts: GcFacts;
  readonly #referenced: ReadonlySet<Ulid>;
  readonly #pinnedTables: ReadonlySet<Ulid>;
  readonly #pinnedVersions: ReadonlySet<number>;
  /** Time of the oldest active compaction; Infinity without one. */
  readonly #oldestActive: number;
  /** Id of the table known to be published to L0 last. */
  readonly #newestL0: Ulid | undefined;

  constructor(facts: GcFacts) {
    this.facts = facts;
    this.#referenced = reachOf(facts.manifest).tables;
    const tables = new Set<Ulid>();
    for (const reach of facts.pinned.values()) for (const id of reach.tables) tables.add(id);
    this.#pinnedTables = tables;
    this.#pinnedVersions = new Set(facts.manifest.checkpoints.map((one) => one.manifestId));
    this.#oldestActive = Math.min(...facts.active.map(ulidMillis));
    // The one published last, not the one with the greatest id: a writer before may have had a faster clock.
    this.#newestL0 = facts.manifest.l0[0]?.sstId ?? facts.manifest.lastCompactedL0;
  }

  /** What becomes of table `id`. */
  table(id: Ulid, { lastModifiedMillis }: ObjectMeta): Verdict {
    if (this.#referenced.has(id)) return kept("referenced");
    if (this.#pinnedTables.has(id)) return kept("checkpoint");
    if (this.facts.inFlight?.(id) === true) return kept("in-flight");
    const minted = ulidMillis(id);
    if (minted >= this.#oldestActive) return kept("active-compaction");
    if (this.facts.inFlight === undefined) {
      if (this.#newestL0 === undefined) return kept("no-l0");
      // The newest one was published itself, or it would not be known; what came later may not be yet.
      if (id !== this.#newestL0 && minted >= ulidMillis(this.#newestL0)) return kept("newest-l0");
    }
    return this.#aged(Math.max(minted, lastModifiedMillis));
  }

  /** What becomes of WAL object `id`; "look" = read it, and ask {@linkcode fence} if it is one, or it goes. */
  wal(id: number, { size, lastModifiedMillis }: ObjectMeta): Verdict | "look" {
    if (id >= this.facts.manifest.replayAfterWalId) return kept("live");
    for (const reach of this.facts.pinned.values()) if (reachesWal(reach, id)) return kept("checkpoint");
    if (size <= FENCE_BYTES_CERTAIN) return this.fence(lastModifiedMillis);
    const verdict = this.#aged(lastModifiedMillis);
    return verdict === "delete" && size <= FENCE_BYTES_MAX ? "look" : verdict;
  }

  /** What becomes of a WAL object without rows that nothing else keeps. */
  fence(lastModifiedMillis: number): Verdict {
    const due = lastModifiedMillis + Math.max(this.facts.walFenceMinAgeMillis, this.facts.minAgeMillis);
    return due <= this.facts.nowMillis ? "delete" : { keep: "fence", dueAt: due };
  }

  /** What becomes of manifest version `id`; `newestTwo` = the listing shows at most one newer. */
  manifest(id: number, { lastModifiedMillis }: ObjectMeta, newestTwo: boolean): Verdict {
    if (newestTwo || id >= this.facts.manifestId) return kept("newest-two");
    if (this.#pinnedVersions.has(id)) return kept("checkpoint");
    return this.#aged(lastModifiedMillis);
  }

  /** What becomes of compactions object `id`. */
  compactions(id: number, { lastModifiedMillis }: ObjectMeta, newestTwo: boolean): Verdict {
    if (newestTwo || id >= this.facts.compactionsId) return kept("newest-two");
    return this.#aged(lastModifiedMillis);
  }

  /** Earliest end of a checkpoint, ms since 1970; Infinity when none ends by itself. */
  get nextExpiry(): number {
    const ends = this.facts.manifest.checkpoints.map((one) => one.expireTimeSeconds).filter((seconds) => seconds > 0);
    return Math.min(...ends) * 1000;
  }

  #aged(bornMillis: number): Verdict {
    const due = bornMillis + this.facts.minAgeMillis;
    return due <= this.facts.nowMillis ? "delete" : { keep: "young", dueAt: due };
  }
}

/** Verdict "stays", for ever unless something changes when there is no `dueAt`. */
export function kept(reason: KeepReason, dueAt: number = Infinity): Kept {
  return { keep: reason, dueAt };
}
