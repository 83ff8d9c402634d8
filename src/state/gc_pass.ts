/**
 * One collection: read what is true, then list each folder page by page and delete what the rules let go.
 *
 * Order: tables under way in this process are noted, the compactions object is read, then the manifest; checkpoints
 * that have ended are taken out of it by a commit; every version that a checkpoint still pins is read. Only then is
 * anything deleted. A pinned version that cannot be read ends the pass before that, and the report says which.
 *
 * A pass may end anywhere and be made again: nothing it deletes is reached by anything, deleting what is gone succeeds,
 * and a deletion that the store refuses is left to the next pass. Memory is bounded by a page of names, the tables that
 * are reached, and 100,000 names of deleted objects; with more, or when deletions keep failing, a pass ends early.
 *
 * @module
 */
import { Effect } from "effect";
import type { GcReport, GcResource } from "./gc_report.ts";
import { Closed, DataError, FormatError, type StoreError } from "../errors.ts";
import {
  COMPACTED_DIR,
  COMPACTIONS_DIR,
  compactionsPath,
  folderPath,
  MANIFEST_DIR,
  manifestPath,
  parseNumberedName,
  parseTableName,
  tablePath,
  WAL_DIR,
  walPath,
} from "../format/paths.ts";
import type { Manifest, Ulid } from "../format/types.ts";
import type { ObjectMeta, ObjectStoreShape } from "../store/object_store.ts";
import { isExpired, removeExpired } from "./checkpoint_edits.ts";
import { CompactionsStore } from "./compactions_store.ts";
import { releaseExternals } from "./external_dbs.ts";
import { VersionBoundary } from "./gc_boundary.ts";
import { GcDeletion } from "./gc_deletion.ts";
import { GcMemory } from "./gc_memory.ts";
import { activeCompactions, type GcAges, GcJudge, isFence, kept, type Verdict } from "./gc_rules.ts";
import { GC_RESOURCES, GcTally } from "./gc_tally.ts";
import type { ManifestFault, ManifestHandle } from "./manifest_handle.ts";
import type { StoredManifest } from "./manifest_store.ts";
import { engineTime } from "./numbered_versions.ts";
import { type Reach, reachOf } from "./reachable.ts";

/** What a pass works with. */
export interface GcPassSpec {
  /** Manifests, compactions, tables. */
  readonly store: ObjectStoreShape;
  /** The WAL; the same as `store` unless it lives apart. */
  readonly walStore: ObjectStoreShape;
  readonly root: string;
  readonly manifest: ManifestHandle;
  readonly settings: GcAges;
  /**
   * Ids of the tables that this process has frozen, is uploading or has not published yet: only where it is the
   * writer, whose handle `manifest` is. Asked before the manifest is read and again before tables are deleted.
   */
  readonly inFlight?: (() => ReadonlySet<Ulid>) | undefined;
  /** Hears of each pinned version that was read. */
  readonly onPinned?: ((id: number, manifest: Manifest) => void) | undefined;
  /** What passes before have learned; nothing when absent. */
  readonly memory?: GcMemory;
}

/** What a pass came to. */
export interface GcPass {
  readonly report: GcReport;
  /** Earliest time on the memory's clock when something kept may go, by age unless deletions failed; Infinity = never. */
  readonly dueAt: number;
  /** Manifest version that it judged by. */
  readonly manifestId: number;
  /** Active compactions that kept a table, as one text; "" when none did. They end without a trace in the manifest. */
  readonly heldBy: string;
  /** The first deletion that failed, or why a parent of this clone could not be let go. */
  readonly failure?: StoreError | DataError;
}

/** Reads of small WAL objects at once. */
const CONCURRENCY = 8;
/** Small WAL objects that are read before a pass knows that the store deletes: more than failures end it after. */
const LOOKS_FIRST = 32;
/** Deletions in one pass; the next one goes on. */
const DELETIONS_MAX = 100_000;

/** Collects once. With `dryRun` nothing is written or deleted, and the report says what would be. */
export function collectOnce(
  spec: GcPassSpec,
  options: { readonly dryRun?: boolean } = {},
): Effect.Effect<GcPass, ManifestFault> {
  return Effect.gen(function* () {
    const dryRun = options.dryRun === true;
    const memory = spec.memory ?? new GcMemory();
    const { judge, expired, stopped } = yield* gatherFacts(spec, memory, dryRun);
    const tally = new GcTally();
    tally.dueAt = judge.nextExpiry;
    const { manifestId, active } = judge.facts;
    if (stopped !== undefined) {
      return { report: tally.report(dryRun, expired, stopped), dueAt: tally.dueAt, manifestId, heldBy: "" };
    }
    const pass = new Collection(spec, memory, judge, tally, dryRun);
    for (const resource of GC_RESOURCES) if (!pass.gaveUp) yield* pass.collect(resource);
    // A clone that has rewritten everything lets its parents collect again (K-33).
    const unreleased = dryRun ? undefined : yield* releaseExternals(spec.store, spec.manifest).pipe(
      Effect.as(undefined),
      Effect.catch((error) => error instanceof Closed ? Effect.fail(error) : Effect.succeed(error)),
    );
    const failure = pass.failure ?? unreleased;
    return {
      report: tally.report(dryRun, expired),
      dueAt: pass.gaveUp ? judge.nextExpiry : tally.dueAt,
      manifestId,
      heldBy: tally.count("compacted", "active-compaction") === 0 ? "" : active.join(),
      ...(failure === undefined ? {} : { failure }),
    };
  });
}

interface Gathered {
  readonly judge: GcJudge;
  /** Ids of the checkpoints that were removed, or would be. */
  readonly expired: readonly string[];
  readonly stopped?: string;
}

/** Reads everything that decisions rest on, in the order that makes them safe. */
function gatherFacts(spec: GcPassSpec, memory: GcMemory, dryRun: boolean): Effect.Effect<Gathered, ManifestFault> {
  return Effect.gen(function* () {
    const { manifest: handle, root, inFlight } = spec;
    // What is made from here on is young, however long the reading takes.
    const begun = yield* engineTime;
    const before = inFlight === undefined ? undefined : new Set(inFlight());
    const compactions = yield* new CompactionsStore(spec.store, root).newest;
    let stored = yield* handle.refresh;
    const manifestAt = (id: number) => manifestPath(root, id);
    memory.observe(stored);
    yield* memory.learnTime(spec.store, manifestAt);
    if (!dryRun && !memory.knowsTime && endedAt(stored.manifest, begun.wall).length > 0) {
      // A clock that is ahead must not end checkpoints: a version made now tells the time of the store.
      stored = yield* handle.commit<never>((current) => ({ ...current }), "admin");
      memory.observe(stored);
      yield* memory.learnTime(spec.store, manifestAt);
    }
    const nowMillis = memory.nowAt(begun);
    const expired: string[] = [];
    if (!dryRun) {
      const edit = removeExpired(nowMillis);
      stored = yield* handle.commit<never>((current, id) => {
        expired.length = 0;
        expired.push(...endedAt(current, nowMillis));
        return edit(current, id);
      }, "admin");
      memory.observe(stored);
    } else expired.push(...endedAt(stored.manifest, nowMillis));
    const manifest = withoutEnded(stored.manifest, nowMillis);
    // A greater epoch on a handle that is not fenced: somebody else is the writer, and his tables are not known here.
    const isWriter = before !== undefined && manifest.writerEpoch === handle.epoch;
    const pinned = yield* readPinned(spec, memory, stored, manifest);
    const judge = new GcJudge({
      ...spec.settings,
      nowMillis,
      manifestId: stored.id,
      manifest,
      compactionsId: compactions?.id ?? 0,
      active: activeCompactions(compactions?.compactions),
      pinned: pinned instanceof DataError ? new Map() : pinned,
      inFlight: isWriter ? (id) => before.has(id) || inFlight!().has(id) : undefined,
    });
    return {
      judge,
      expired,
      ...(pinned instanceof DataError ? { stopped: `A version that a checkpoint pins: ${pinned.message}` } : {}),
    };
  });
}

function endedAt(manifest: Manifest, nowMillis: number): string[] {
  return manifest.checkpoints.filter((one) => isExpired(one, nowMillis)).map((one) => one.id);
}

function withoutEnded(manifest: Manifest, nowMillis: number): Manifest {
  return { ...manifest, checkpoints: manifest.checkpoints.filter((one) => !isExpired(one, nowMillis)) };
}

/** What each pinned version reaches, or what is wrong with one of them. */
function readPinned(
  { manifest: handle, onPinned }: GcPassSpec,
  memory: GcMemory,
  stored: StoredManifest,
  manifest: Manifest,
): Effect.Effect<ReadonlyMap<number, Reach> | DataError, StoreError> {
  return Effect.gen(function* () {
    const ids = new Set(manifest.checkpoints.map((one) => one.manifestId));
    ids.delete(stored.id);
    memory.reaches.retain(ids);
    const pinned = new Map<number, Reach>();
    for (const id of ids) {
      let reach = memory.reaches.get(id);
      if (reach === undefined) {
        const { manifest: found } = yield* handle.versions.read(id);
        reach = reachOf(found);
        onPinned?.(id, found);
        memory.reaches.add(id, reach);
      }
      pinned.set(id, reach);
    }
    return pinned;
  }).pipe(Effect.catchTag("DataError", (error) => Effect.succeed(error)));
}

/** A listed object of ours, before its verdict. */
interface Listed {
  readonly id: number | Ulid;
  readonly meta: ObjectMeta;
}

/** Goes through the folders. */
class Collection {
  readonly #spec: GcPassSpec;
  readonly #memory: GcMemory;
  readonly #judge: GcJudge;
  readonly #tally: GcTally;
  readonly #dryRun: boolean;
  readonly #deletion: GcDeletion;

  constructor(spec: GcPassSpec, memory: GcMemory, judge: GcJudge, tally: GcTally, dryRun: boolean) {
    this.#spec = spec;
    this.#memory = memory;
    this.#judge = judge;
    this.#tally = tally;
    this.#dryRun = dryRun;
    this.#deletion = new GcDeletion(tally, memory, dryRun);
  }

  /** The first deletion that failed. */
  get failure(): StoreError | undefined {
    return this.#deletion.failure;
  }

  /** Whether deletions failed so often that nothing more is asked. */
  get gaveUp(): boolean {
    return this.#deletion.gaveUp;
  }

  /** Goes through one folder, page by page. */
  collect(resource: GcResource): Effect.Effect<void, StoreError> {
    const { root } = this.#spec;
    const store = resource === "wal" ? this.#spec.walStore : this.#spec.store;
    const folder = folderPath(root, FOLDERS[resource]);
    const isVersion = resource === "manifest" || resource === "compactions";
    const boundary = isVersion ? new VersionBoundary(store, root, resource, this.#newestId(resource)) : undefined;
    return Effect.gen({ self: this }, function* () {
      /** The last two versions seen so far: whether they are the newest two shows only when more follow, or none. */
      let held: Listed[] = [];
      let after: string | undefined;
      while (true) {
        const page = yield* store.list(folder, after);
        const ours = this.#ours(resource, page.objects);
        const ripe = [...held, ...ours];
        held = isVersion ? ripe.splice(Math.max(0, ripe.length - 2)) : [];
        yield* this.#clear(resource, store, ripe, boundary);
        after = page.objects.at(-1)?.path;
        if (!page.truncated || after === undefined || this.gaveUp) break;
        if (this.#tally.deletions >= DELETIONS_MAX) {
          this.#tally.dueAt = Math.min(this.#tally.dueAt, this.#judge.facts.nowMillis);
          break;
        }
      }
      for (const { id, meta } of held) this.#keep(resource, this.#judgeVersion(resource, id as number, meta, true));
    });
  }

  #newestId(resource: GcResource): number {
    return resource === "manifest" ? this.#judge.facts.manifestId : this.#judge.facts.compactionsId;
  }

  /** The objects with names of ours; the others are counted. */
  #ours(resource: GcResource, objects: ReadonlyArray<ObjectMeta>): Listed[] {
    const ours: Listed[] = [];
    for (const meta of objects) {
      const id = idOf(resource, this.#spec.root, meta.path);
      if (id === undefined) this.#tally.foreign(resource, meta.path);
      else ours.push({ id, meta });
    }
    return ours;
  }

  /**
   * Deletes what is to go of a page; the others are counted as kept. What has to be read before is read a few objects at
   * a time until one was deleted: on a store that refuses, the reads would be for nothing, at every pass.
   */
  #clear(
    resource: GcResource,
    store: ObjectStoreShape,
    objects: ReadonlyArray<Listed>,
    boundary: VersionBoundary | undefined,
  ): Effect.Effect<void, StoreError> {
    return Effect.gen({ self: this }, function* () {
      const going: ObjectMeta[] = [];
      const unclear: Listed[] = [];
      for (const listed of objects) {
        const verdict = this.#verdict(resource, listed);
        if (verdict === "look") unclear.push(listed);
        else if (!this.#keep(resource, verdict)) going.push(listed.meta);
      }
      while (unclear.length > 0 && !this.gaveUp) {
        const isProven = this.#tally.deletions > 0;
        yield* Effect.forEach(
          unclear.splice(0, isProven ? unclear.length : LOOKS_FIRST),
          ({ id, meta }) =>
            Effect.map(this.#look(store, id as number, meta), (verdict) => {
              if (!this.#keep(resource, verdict)) going.push(meta);
            }),
          { concurrency: CONCURRENCY, discard: true },
        );
        if (!isProven) yield* this.#dispose(resource, store, going.splice(0), boundary);
      }
      for (const _ of unclear) this.#keep(resource, kept("delete-failed"));
      yield* this.#dispose(resource, store, going, boundary);
    });
  }

  #verdict(resource: GcResource, { id, meta }: Listed): Verdict | "look" {
    if (resource === "compacted") return this.#judge.table(id as Ulid, meta);
    if (resource !== "wal") return this.#judgeVersion(resource, id as number, meta, false);
    const verdict = this.#judge.wal(id as number, meta);
    const known = verdict === "look" && this.#memory.isFence(id as number);
    return known ? this.#judge.fence(meta.lastModifiedMillis) : verdict;
  }

  #judgeVersion(resource: GcResource, id: number, meta: ObjectMeta, newestTwo: boolean): Verdict {
    return resource === "manifest"
      ? this.#judge.manifest(id, meta, newestTwo)
      : this.#judge.compactions(id, meta, newestTwo);
  }

  /** Reads a small WAL object that is old enough to go, unless it is a fence. */
  #look(store: ObjectStoreShape, id: number, meta: ObjectMeta): Effect.Effect<Verdict, StoreError> {
    return store.get(meta.path).pipe(
      Effect.map((bytes): Verdict => {
        try {
          if (!isFence(bytes)) return "delete";
        } catch (error) {
          if (error instanceof FormatError) return kept("unreadable");
          throw error;
        }
        this.#memory.addFence(id);
        return this.#judge.fence(meta.lastModifiedMillis);
      }),
      Effect.catch((error) => error.reason === "not-found" ? Effect.succeed("delete" as const) : Effect.fail(error)),
    );
  }

  /** Counts what stays; false when it goes. */
  #keep(resource: GcResource, verdict: Verdict): boolean {
    if (verdict === "delete") return false;
    this.#tally.kept(resource, verdict);
    return true;
  }

  /** Deletes; versions only after the boundary file, if there is one, says that they are dead. */
  #dispose(
    resource: GcResource,
    store: ObjectStoreShape,
    going: ReadonlyArray<ObjectMeta>,
    boundary: VersionBoundary | undefined,
  ): Effect.Effect<void, StoreError> {
    if (going.length === 0) return Effect.void;
    return Effect.gen({ self: this }, function* () {
      if (boundary !== undefined) {
        const greatest = parseNumberedName(going.at(-1)!.path)!;
        if (!(yield* boundary.pass(greatest, this.#dryRun))) {
          for (const _ of going) this.#tally.kept(resource, kept("boundary"));
          return;
        }
      }
      yield* this.#deletion.delete(resource, store, going);
    });
  }
}

const FOLDERS: Readonly<Record<GcResource, string>> = {
  wal: WAL_DIR,
  compacted: COMPACTED_DIR,
  manifest: MANIFEST_DIR,
  compactions: COMPACTIONS_DIR,
};

/** The id in the name of an object of ours; undefined for any other name. */
function idOf(resource: GcResource, root: string, path: string): number | Ulid | undefined {
  if (resource === "compacted") {
    const id = parseTableName(path);
    return id !== undefined && path === tablePath(root, id) ? id : undefined;
  }
  const id = parseNumberedName(path);
  if (id === undefined || id < 1) return undefined;
  const named = resource === "wal" ? walPath : resource === "manifest" ? manifestPath : compactionsPath;
  return path === named(root, id) ? id : undefined;
}
