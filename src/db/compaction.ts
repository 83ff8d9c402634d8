/**
 * Puts a compactor together: the scheduler, the store stack that its requests are counted on, tables of its own.
 *
 * The same for the embedded compactor of a writer, for a standalone one, and for a writer without one, whose compactor
 * only does what `compact()` asks for.
 *
 * @module
 */
import { Effect, type Scope } from "effect";
import { Ids, mintUuid, type UlidMint } from "../env/ids.ts";
import type { CompressionCode, Ulid } from "../format/types.ts";
import { BlockCache } from "../lsm/block_cache.ts";
import type { CompactionPlan, CompactionScheduler } from "../lsm/compaction_job.ts";
import type { CompactionRange } from "../lsm/compaction_rules.ts";
import { resolveRange, successor } from "../lsm/key_range.ts";
import type { FoldMerge } from "../lsm/merge_operator.ts";
import type { KnownTables } from "../lsm/table_facts.ts";
import { TableStore } from "../lsm/table_store.ts";
import type { TableEncoding } from "../lsm/table_writer.ts";
import { CompactionsStore } from "../state/compactions_store.ts";
import type { ManifestHandle } from "../state/manifest_handle.ts";
import { namedTables } from "../state/reachable.ts";
import { Compactor } from "../../tasks/compactor.ts";
import type { CompactorSpec, JobRunner } from "../../tasks/compactor_spec.ts";
import { threadRunner } from "../../tasks/compaction_thread.ts";
import { type CompactionWorkerSpec, runCompaction } from "../../tasks/compaction_worker.ts";
import type { Supervisor } from "../../tasks/supervisor.ts";
import { TableDrops } from "../../tasks/table_drops.ts";
import type { CompactionProgress } from "./admin_api.ts";
import type { KeyRange } from "./api.ts";
import { resolveCompactor, type ResolvedCompactor } from "./compactor_options.ts";
import type { Runtime } from "./runtime.ts";
import { ATTEMPT_TIMEOUT_MILLIS, type Stores } from "./stores.ts";

/** What a compactor is put together from. */
export interface CompactorBase {
  readonly runtime: Runtime;
  readonly supervisor: Supervisor;
  readonly stores: Stores;
  readonly root: string;
  /** The folder that the database was opened by; undefined for other locations, which a thread cannot open. */
  readonly folder: string | undefined;
  readonly manifest: ManifestHandle;
  /** Root of a table that belongs to another database. */
  readonly externalRoot: (id: Ulid) => string | undefined;
  readonly encoding: TableEncoding;
  /** Whether tables keep the codec of the newest of their sources instead of that of `encoding`. */
  readonly keepsCodec?: boolean;
  readonly merge: FoldMerge | undefined;
  readonly mint: UlidMint;
  readonly known: KnownTables;
  /** Undefined: compacts only when asked. */
  readonly settings: ResolvedCompactor | undefined;
  readonly expectedEpoch: number | undefined;
  readonly onChange: () => void;
  readonly onOrphans: () => void;
  /** The merge operator failed: its operands stay unfolded. */
  readonly onMergeFailure?: (error: unknown) => void;
  readonly onPublished?: CompactorSpec["onPublished"];
}

/** Proposes nothing: for a writer whose compactor only does what it is asked. */
const ON_REQUEST: CompactionScheduler = { name: "on request", minL0Sources: 1, wholeRuns: true, propose: () => [] };

/** Starts a compactor in the current scope. */
export function startCompactor(base: CompactorBase): Effect.Effect<Compactor, never, Scope.Scope> {
  return Effect.gen(function* () {
    const ids = yield* Ids;
    const { runtime, stores, root, settings = { ...resolveCompactor(), scheduler: ON_REQUEST }, known, mint } = base;
    const store = stores.mainFor("compactor", true);
    const tables = new TableStore({
      store,
      root,
      externalRoot: base.externalRoot,
      cache: new BlockCache({ blockBytes: 0 }),
    });
    const drops = new TableDrops(store, tables);
    const mintId = () => mint.mint(runtime.now());
    const { maxSstBytes, maxConcurrent } = settings;
    return yield* Compactor.start({
      supervisor: base.supervisor,
      manifest: base.manifest,
      versions: new CompactionsStore(store, root),
      scheduler: settings.scheduler,
      limits: { maxSstBytes, maxConcurrent },
      facts: known.facts,
      drops: (manifest) => drops.find(manifest),
      isOnRequest: base.settings === undefined,
      run: runnerOf(base, settings, { store, tables, mintTableId: mintId }),
      mint: mintId,
      observe: (id) => mint.observe(id),
      mintCheckpointId: () => mintUuid(ids),
      now: () => runtime.now(),
      expectedEpoch: base.expectedEpoch,
      onChange: base.onChange,
      onOrphans: base.onOrphans,
      onPublished: (manifest, outputs, counts) => {
        for (const { view, isPlain } of outputs) known.note(view.sstId, isPlain);
        tables.retain(namedTables(manifest));
        base.onPublished?.(manifest, outputs, counts);
      },
    });
  });
}

/** The codec of the newest table that a plan merges. */
function newestCodec(plan: CompactionPlan): CompressionCode | undefined {
  for (const segment of plan.segments) {
    const newest = segment.kind === "merge" ? segment.sources[0]?.[0] : undefined;
    if (newest !== undefined) return newest.info.compression;
  }
  return undefined;
}

/** Where jobs run: here, in slices, or in threads. */
function runnerOf(
  base: CompactorBase,
  { thread, maxSstBytes }: ResolvedCompactor,
  here: Pick<CompactionWorkerSpec, "store" | "tables" | "mintTableId">,
): JobRunner {
  const { root, folder, encoding, merge, externalRoot, mint, stores, onMergeFailure } = base;
  const encodingOf = (plan: CompactionPlan): TableEncoding => {
    const codec = base.keepsCodec === true ? newestCodec(plan) ?? encoding.compression : encoding.compression;
    return { ...encoding, compression: codec };
  };
  if (!thread || folder === undefined) {
    const spec = { ...here, root, merge, maxSstBytes, ...(onMergeFailure === undefined ? {} : { onMergeFailure }) };
    return (plan, counts) => runCompaction({ ...spec, encoding: encodingOf(plan) }, plan, counts);
  }
  return threadRunner({
    folder,
    root,
    externalRoot,
    encodingOf,
    maxSstBytes,
    attemptTimeoutMillis: ATTEMPT_TIMEOUT_MILLIS,
    mint: here.mintTableId,
    observe: (id) => mint.observe(id),
    meter: stores.meter,
    onDegraded: (thread, degraded, report) => stores.heardFrom(`compactor thread ${thread}`)(degraded, report),
  });
}

/** What of a compactor's jobs a user sees. */
export function progressOf(compactor: Compactor): CompactionProgress[] {
  return compactor.status.running.map(({ id, spec, counts, totalBytes }) => ({
    id,
    destination: spec.destination,
    bytesIn: counts.bytesIn,
    bytesOut: counts.bytesOut,
    totalBytes,
  }));
}

/** Half-open bounds of a range to compact; undefined = everything. @throws InvalidArgument */
export function compactionKeys(range: KeyRange | undefined): CompactionRange | undefined {
  const { start, startInclusive, end, endInclusive } = resolveRange(range);
  if (start === undefined && end === undefined) return undefined;
  return {
    lower: start === undefined || startInclusive ? start : successor(start),
    upper: end === undefined || !endInclusive ? end : successor(end),
  };
}
