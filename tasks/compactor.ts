/**
 * The compactor: chooses jobs, records them, runs them, publishes what they made.
 *
 * It wakes when the manifest changed or a job ended, never by a clock, so that a database at rest costs nothing; a
 * standalone one is woken by its poll. Its epoch is taken with the first job. All state lives in `CompactorState` and in
 * the journal; what ends a job is told to the same loop, so nothing here runs twice at once but the jobs themselves.
 *
 * Tables that range tombstones hide whole are taken away first, without being read: such a job is the publication alone,
 * so that a crash leaves it done or not begun, and no entry of the journal tells of it.
 *
 * Order of writes: epoch in the manifest; entry in the journal; tables; one manifest version that has the new layout
 * together with a 15-minute checkpoint of the version before it; entry completed. A crash anywhere leaves orphans at
 * most, and an entry that the next compactor starts anew or finds done.
 *
 * Invariants: T1 a manifest names a compaction's tables only after all of them are stored, in the same version that no
 * longer names their sources; T2 nothing is published after another compactor's epoch is stored; T3 a compactor that
 * fails or is superseded never closes the writer.
 *
 * @module
 */
import { Cause, Effect, Exit, Fiber, type Scope } from "effect";
import { Closed, DataError, textOf } from "../src/errors.ts";
import type { CompactionRecord, Ulid } from "../src/format/types.ts";
import type { CompactionPlan, CompactionSpec } from "../src/lsm/compaction_job.ts";
import { isWorthRunning, planCompaction } from "../src/lsm/compaction_plan.ts";
import type { CompactionRange } from "../src/lsm/compaction_rules.ts";
import { CompactionJournal, type CompactorFault, newRecord, withStatus } from "../src/state/compaction_journal.ts";
import { asFailure, CompactorFenced, SourcesGone } from "../src/state/compaction_faults.ts";
import { CompactorState, type NextJob, type RunningJob } from "../src/state/compactor_state.ts";
import { type Actor, spawn } from "./actor.ts";
import { publication } from "./compaction_publication.ts";
import type { CompactorSpec, CompactorStatus } from "./compactor_spec.ts";
import type { CompactionOutput } from "./compaction_worker.ts";

/** Pause after a failure, ms, doubled by each further one; its longest; its longest after damage (six hours). */
const FIRST_PAUSE_MILLIS = 1000;
const LONGEST_PAUSE_MILLIS = 60_000;
const LONGEST_DAMAGE_PAUSE_MILLIS = 21_600_000;
/** Time between two reports of progress, ms. */
const PROGRESS_MILLIS = 250;

/** The running compactor. */
export class Compactor {
  readonly #spec: CompactorSpec;
  readonly #state: CompactorState;
  readonly #scope: Scope.Scope;
  readonly #fibers: Map<Ulid, Fiber.Fiber<void>> = new Map();
  #journal: CompactionJournal | undefined = undefined;
  #expectedEpoch: number | undefined;
  /** Entries whose end is not recorded yet. */
  #ended: Map<Ulid, CompactionRecord> = new Map();
  #superseded = false;
  #reclaims = false;
  #takesOver = false;
  #failures = 0;
  #paused = false;
  #trouble: string | undefined = undefined;
  #lookTrouble: string | undefined = undefined;
  #restWaiters: Set<() => void> = new Set();
  #actor: Actor<"look"> = { tell: () => {} };

  private constructor(spec: CompactorSpec, scope: Scope.Scope) {
    this.#spec = spec;
    this.#scope = scope;
    this.#expectedEpoch = spec.expectedEpoch;
    this.#state = new CompactorState(spec.scheduler, spec.limits);
  }

  /** Starts a compactor in the current scope, which ends it and its jobs. */
  static start(spec: CompactorSpec): Effect.Effect<Compactor, never, Scope.Scope> {
    return Effect.gen(function* () {
      const compactor = new Compactor(spec, yield* Effect.scope);
      compactor.#actor = yield* spawn<"look", never, never>(spec.supervisor, {
        name: "compactor",
        kinds: ["look"],
        handle: () => compactor.#turn,
      });
      spec.supervisor.onClose((error) => {
        compactor.#state.failAll(error);
        compactor.#rest();
      });
      return compactor;
    });
  }

  /** How it is doing, now. */
  get status(): CompactorStatus {
    const running = [...this.#state.running.values()];
    const phase = this.#superseded
      ? "superseded"
      : running.length > 0
      ? "running"
      : this.#trouble === undefined
      ? "idle"
      : "failing";
    const [trouble, lookTrouble] = [this.#trouble, this.#lookTrouble];
    return { phase, running, trouble, lookTrouble, hasJournal: this.#journal?.isStored === true };
  }

  /** The manifest changed, or an entry may have been submitted: there may be something to do. */
  changed(): void {
    if (!this.#superseded) this.#actor.tell("look");
  }

  /**
   * Somebody met entries in the journal that keep tables from being collected: those of a compactor that died. Takes its
   * journal over, unless that compactor is alive elsewhere.
   */
  reclaim(): void {
    if (this.#superseded || this.#state.running.size > 0) return;
    this.#reclaims = true;
    this.#actor.tell("look");
  }

  /** Compacts everything, or the keys of a range, and waits for it. A superseded compactor takes over again. */
  compact(range: CompactionRange | undefined): Effect.Effect<void, unknown> {
    return Effect.suspend(() => {
      const request = this.#state.request(range);
      this.#takesOver = true;
      this.#actor.tell("look");
      return request.done.wait;
    });
  }

  /** Takes the epoch now, whoever has it, and looks for entries in the journal. */
  readonly claim: Effect.Effect<void, CompactorFault> = Effect.suspend(() =>
    Effect.andThen(this.#claimed, Effect.sync(() => this.#actor.tell("look")))
  );

  /** Looks for entries that others submitted and for newer manifests; what fails is told by the status. */
  readonly poll: Effect.Effect<void> = Effect.suspend(() =>
    Effect.gen({ self: this }, function* () {
      if (this.#superseded) return;
      // The journal first: what it calls finished is then in the manifest that is read after it.
      if (this.#journal !== undefined) {
        yield* this.#journal.refresh;
        this.#adopt(this.#journal);
      }
      yield* this.#spec.manifest.refresh;
      this.changed();
    }).pipe(Effect.catchCause((cause) => this.#failed(Cause.squash(cause))))
  );

  /** Waits until nothing is left to do or can be done. */
  readonly atRest: Effect.Effect<void> = Effect.callback<void>((resume) => {
    const waiter = () => resume(Effect.void);
    if (this.#spec.supervisor.closed !== undefined) return waiter();
    this.#restWaiters.add(waiter);
    this.#actor.tell("look");
    return Effect.sync(() => void this.#restWaiters.delete(waiter));
  });

  /** One round: records what ended, starts what is due. Whatever fails, the loop goes on. */
  readonly #turn: Effect.Effect<void> = Effect.suspend(() =>
    this.#round.pipe(Effect.catchCause((cause) => {
      const error = Cause.squash(cause);
      // Who asked meanwhile is answered by the next round, which takes the place over.
      if (!(error instanceof CompactorFenced && this.#takesOver)) this.#state.failAll(asFailure(error));
      return this.#failed(error);
    }))
  );

  readonly #round: Effect.Effect<void, CompactorFault> = Effect.suspend(() =>
    Effect.gen({ self: this }, function* () {
      const { manifest } = this.#spec;
      if (this.#takesOver) yield* this.#takePlace;
      const epoch = this.#journal?.epoch;
      if (epoch !== undefined && manifest.current.compactorEpoch > epoch) {
        return yield* Effect.fail(new CompactorFenced(manifest.current.compactorEpoch, epoch));
      }
      if (this.#superseded) return this.#rest();
      const mayStart = !this.#paused || this.#state.hasManual;
      const mayDrop = !this.#paused && (this.#state.hasManual || !this.#spec.isOnRequest);
      const drops = mayDrop ? yield* this.#dropsNow : [];
      const next = () => mayStart ? this.#state.next(manifest.current, drops) : { jobs: [], invalid: [] };
      let { jobs, invalid } = next();
      if (this.#reclaims || (jobs.length > 0 && this.#journal === undefined)) {
        yield* this.#reclaims ? this.#readAgain : this.#claimed;
        this.#reclaims = false;
        // The claim may have met a newer manifest, and entries that come first.
        ({ jobs, invalid } = next());
      }
      for (const record of invalid) this.#ended.set(record.id, record);
      const started = jobs.map((job) => this.#prepare(job)).filter((job) => job !== undefined);
      yield* this.#record(started.filter(({ plan }) => plan.mergeBytes > 0).map(({ job }) => job.record)).pipe(
        Effect.ensuring(Effect.sync(() => this.#state.settleFinished())),
      );
      for (const { job, plan } of started) yield* this.#launch(job, plan);
      // A write that met somebody else's version brought entries along.
      if (this.#journal !== undefined) this.#adopt(this.#journal);
      if (!this.#paused) this.#trouble = undefined;
      if (this.#state.running.size === 0 && !this.#state.hasManual) this.#rest();
      this.#spec.onChange();
    })
  );

  /** Tables that may go unread. Finding them is no duty: when that fails the status says so, and they are merged. */
  readonly #dropsNow: Effect.Effect<ReadonlyArray<CompactionSpec>> = Effect.suspend(() =>
    Effect.map(Effect.exit(this.#spec.drops(this.#spec.manifest.current)), (exit) => {
      this.#lookTrouble = Exit.isSuccess(exit) ? undefined : textOf(Cause.squash(exit.cause));
      return Exit.isSuccess(exit) ? exit.value : [];
    })
  );

  /** Whoever asked for a compaction has it done here: another compactor loses its place, also one that has ended. */
  readonly #takePlace: Effect.Effect<void, CompactorFault> = Effect.suspend(() =>
    Effect.gen({ self: this }, function* () {
      const { compactorEpoch } = (yield* this.#spec.manifest.refresh).manifest;
      this.#takesOver = false;
      if (this.#journal?.epoch === compactorEpoch) return;
      yield* this.#dropJobs;
      this.#superseded = false;
      this.#expectedEpoch = undefined;
    })
  );

  readonly #claimed: Effect.Effect<CompactionJournal, CompactorFault> = Effect.suspend(() =>
    Effect.gen({ self: this }, function* () {
      if (this.#journal !== undefined) return this.#journal;
      const onClaimed = (epoch: number) => void (this.#expectedEpoch = epoch);
      const { versions, manifest } = this.#spec;
      const journal = yield* CompactionJournal.open(versions, manifest, this.#expectedEpoch, onClaimed);
      this.#journal = journal;
      this.#adopt(journal);
      return journal;
    })
  );

  /** Looks into the journal for entries that were not there when it was taken over. */
  readonly #readAgain: Effect.Effect<void, CompactorFault> = Effect.suspend(() =>
    Effect.flatMap(this.#claimed, (journal) => Effect.map(journal.refresh, () => this.#adopt(journal)))
  );

  #adopt(journal: CompactionJournal): void {
    // Collectors rely on it that tables of a job carry later ids than its entry, whatever clock that came from.
    for (const record of journal.records) this.#spec.observe(record.id);
    const known = (id: Ulid) => this.#ended.has(id);
    const { over, added } = this.#state.adopt(journal.records, this.#spec.manifest.current, known);
    for (const record of over) this.#ended.set(record.id, record);
    if (over.length + added > 0) this.#actor.tell("look");
  }

  /** Writes new entries and those that ended, in one version. */
  #record(started: ReadonlyArray<CompactionRecord>): Effect.Effect<void, CompactorFault> {
    return Effect.suspend(() => {
      const ended = [...this.#ended.values()];
      if (this.#journal === undefined || started.length + ended.length === 0) return Effect.void;
      const known = new Set(this.#journal.records.map((record) => record.id));
      const told = ended.filter((record) => known.has(record.id));
      return Effect.map(this.#journal.record([...told, ...started]), () => {
        for (const record of ended) this.#ended.delete(record.id);
      });
    });
  }

  /** Plans a job; undefined when there is nothing to change. */
  #prepare({ spec, entry, manual }: NextJob): { readonly job: RunningJob; readonly plan: CompactionPlan } | undefined {
    const plan = planCompaction(this.#spec.manifest.current, spec, this.#spec.limits, this.#spec.facts);
    const id = entry?.id ?? this.#spec.mint();
    const record = entry === undefined ? newRecord(id, spec.l0ViewIds, spec.runIds) : withStatus(entry, "running");
    const job: RunningJob = {
      id,
      spec,
      record,
      counts: { bytesIn: 0, bytesOut: 0 },
      totalBytes: plan.mergeBytes,
      manual,
    };
    if (isWorthRunning(plan, this.#spec.facts)) return { job, plan };
    if (entry !== undefined) this.#ended.set(id, withStatus(entry, "completed"));
    this.#finish(job, undefined);
    return undefined;
  }

  /** Starts a job as a fiber of its own. */
  #launch(job: RunningJob, plan: CompactionPlan): Effect.Effect<void> {
    // A takeover may have come while the entry was being recorded; it starts anew.
    const epoch = this.#journal?.epoch;
    if (epoch === undefined) return Effect.void;
    // Without an active entry the collectors would take what it stores for orphans.
    if (plan.mergeBytes > 0 && !this.#journal!.isActive(job.id)) return Effect.void;
    this.#state.running.set(job.id, job);
    const isMerge = plan.segments.some((segment) => segment.kind === "merge");
    const work = (isMerge ? this.#spec.run(plan, job.counts) : Effect.succeed([])).pipe(
      Effect.flatMap((outputs) => this.#publish(job, plan, outputs, epoch)),
      Effect.raceFirst(this.#reportProgress),
    );
    return work.pipe(
      Effect.exit,
      Effect.flatMap((exit) => this.#jobEnded(job, exit)),
      Effect.forkIn(this.#scope),
      Effect.map((fiber) => void (this.#state.running.has(job.id) && this.#fibers.set(job.id, fiber))),
    );
  }

  readonly #reportProgress: Effect.Effect<never> = Effect.forever(
    Effect.map(Effect.sleep(PROGRESS_MILLIS), () => this.#spec.onChange()),
  );

  #publish(
    job: RunningJob,
    plan: CompactionPlan,
    outputs: ReadonlyArray<ReadonlyArray<CompactionOutput>>,
    epoch: number,
  ): Effect.Effect<void, CompactorFault | SourcesGone> {
    return Effect.gen({ self: this }, function* () {
      const views = outputs.map((segment) => segment.map((output) => output.view));
      const checkpoint = this.#spec.mintCheckpointId();
      const { now } = this.#spec;
      const edit = publication({ job: job.id, plan, views, epoch, checkpoint, now });
      const stored = yield* this.#spec.manifest.commit(edit, "compactor");
      this.#spec.onPublished(stored.manifest, outputs.flat(), job.counts);
    });
  }

  #jobEnded(job: RunningJob, exit: Exit.Exit<void, unknown>): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.#state.running.delete(job.id);
      this.#fibers.delete(job.id);
      if (Exit.isSuccess(exit)) {
        this.#failures = 0;
        this.#trouble = undefined;
        this.#ended.set(job.id, withStatus(job.record, "completed"));
        this.#finish(job, undefined);
        this.#actor.tell("look");
        return Effect.void;
      }
      const error = Cause.squash(exit.cause);
      this.#ended.set(job.id, withStatus(job.record, "failed"));
      this.#finish(job, error);
      this.#spec.onOrphans();
      return Effect.andThen(this.#failed(error), Effect.sync(() => this.#actor.tell("look")));
    });
  }

  #finish({ manual, spec }: RunningJob, error: unknown): void {
    if (manual === undefined) return;
    if (error !== undefined) return this.#state.fail(manual, asFailure(error));
    this.#state.stepDone(manual, spec);
    this.#actor.tell("look");
  }

  /** Decides what a failure means: another compactor, another writer, or something to try again later. */
  #failed(error: unknown): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      if (error instanceof CompactorFenced) return yield* this.#supersede(error);
      if (error instanceof Closed) {
        this.#spec.supervisor.close(error);
        return;
      }
      if (error instanceof SourcesGone || (error instanceof DataError && error.reason === "missing-object")) {
        // Somebody else compacted: the newest manifest tells.
        yield* Effect.ignore(this.#spec.manifest.refresh);
      }
      this.#trouble = textOf(error);
      this.#spec.onChange();
      if (this.#state.running.size === 0) this.#rest();
      if (this.#paused) return;
      this.#paused = true;
      // Damage does not go away by itself, and finding it again costs as much as the job.
      const longest = error instanceof DataError ? LONGEST_DAMAGE_PAUSE_MILLIS : LONGEST_PAUSE_MILLIS;
      const pause = Math.min(FIRST_PAUSE_MILLIS * 2 ** this.#failures++, longest);
      yield* Effect.sleep(pause).pipe(
        Effect.andThen(Effect.sync(() => {
          this.#paused = false;
          this.#actor.tell("look");
        })),
        Effect.forkIn(this.#scope),
      );
    });
  }

  #supersede(error: CompactorFenced): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      this.#superseded = true;
      if (!this.#takesOver) this.#state.failAll(asFailure(error));
      this.#rest();
      yield* this.#dropJobs;
      this.#spec.onChange();
    });
  }

  /** Gives up the epoch and what runs under it. */
  readonly #dropJobs: Effect.Effect<void> = Effect.suspend(() => {
    this.#journal = undefined;
    this.#ended.clear();
    if (this.#state.running.size > 0) this.#spec.onOrphans();
    const fibers = [...this.#fibers.values()];
    this.#fibers.clear();
    this.#state.running.clear();
    return Fiber.interruptAll(fibers);
  });

  #rest(): void {
    const waiters = [...this.#restWaiters];
    this.#restWaiters.clear();
    waiters.forEach((waiter) => waiter());
  }
}
