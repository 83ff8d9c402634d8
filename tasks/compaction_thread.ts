/**
 * Runs the jobs of a compactor in worker threads, one thread per job, so that merging takes no turn from anybody.
 *
 * A thread is started with the job and ended with it, however it ends; an idle database has none. Only bytes and numbers
 * cross: the thread opens the folder itself, and there is neither a merge operator nor a clock to take along. A thread
 * that dies, or says nothing for a minute, fails its job, and the compactor begins it anew. What it asked of the store is
 * counted here, up to its last report.
 *
 * @module
 */
import { Worker } from "node:worker_threads";
import { Effect } from "effect";
import { OneShot } from "../src/env/one_shot.ts";
import { DataError, StoreError, textOf, Unavailable } from "../src/errors.ts";
import type { Ulid } from "../src/format/types.ts";
import type { CompactionPlan } from "../src/lsm/compaction_job.ts";
import type { TableEncoding } from "../src/lsm/table_writer.ts";
import type { MeterReport, StoreMeter } from "../src/store/metered_store.ts";
import { RetryDeadline } from "../src/store/retrying_store.ts";
import type { DegradedReport } from "../src/store/store_health.ts";
import { errorOf, type FromThread, mergePlanOf, type ThreadJob, type ToThread } from "./compaction_thread_messages.ts";
import type { CompactionCounts, CompactionOutput } from "./compaction_worker.ts";
import type { JobFault, JobRunner } from "./compactor_spec.ts";

/** Half of the time after which a thread that says nothing counts as dead, ms; it says something ten times a second. */
const SILENCE_MILLIS = 30_000;
/** Time that a thread has to give its uploads up, ms. */
const STOP_MILLIS = 5000;
/** Time that its end may take, ms; it ends by itself after that. */
const END_MILLIS = 5000;

/** What threads are started with. */
export interface ThreadRunnerSpec {
  /** The database's folder, an absolute path. */
  readonly folder: string;
  /** Root of the database in the store of that folder. */
  readonly root: string;
  /** Root of a table that belongs to another database. */
  readonly externalRoot: (id: Ulid) => string | undefined;
  /** How the tables that a plan makes are written. */
  readonly encodingOf: (plan: CompactionPlan) => TableEncoding;
  /** Size at which an output table is ended, bytes. */
  readonly maxSstBytes: number;
  /** Time limit of a single request, ms. */
  readonly attemptTimeoutMillis: number;
  /** A fresh ULID of now, above all that were minted or observed before. */
  readonly mint: () => Ulid;
  readonly observe: (id: Ulid) => void;
  /** Counts what the threads ask of the store. */
  readonly meter: StoreMeter;
  /** Hears when the store of a thread does not do what it is asked, and when it does again (or the thread ended). */
  readonly onDegraded: (thread: number, degraded: boolean, report?: DegradedReport) => void;
  /** The program of a thread; for tests. */
  readonly entry?: URL;
}

/** Runs each plan in a thread of its own. Interrupting a job ends its thread. */
export function threadRunner(spec: ThreadRunnerSpec): JobRunner {
  let threads = 0;
  return (plan, counts) =>
    Effect.withFiber((fiber) => {
      const retryMillis = fiber.getRef(RetryDeadline);
      const thread = new CompactionThread(spec, ++threads, counts);
      return Effect.acquireUseRelease(
        Effect.sync(() => thread.start(jobOf(spec, plan, retryMillis))),
        () => thread.outcome,
        () => thread.end,
      );
    });
}

function jobOf(spec: ThreadRunnerSpec, plan: CompactionPlan, retryMillis: number): ThreadJob {
  const { folder, root, maxSstBytes, attemptTimeoutMillis } = spec;
  const { blockSizeBytes, compression, minFilterKeys, filterBitsPerKey } = spec.encodingOf(plan);
  const merged = mergePlanOf(plan);
  const externalRoots = new Map<Ulid, string>();
  for (const segment of merged.segments) {
    if (segment.kind !== "merge") continue;
    for (const { sstId } of segment.sources.flat()) {
      const external = spec.externalRoot(sstId);
      if (external !== undefined) externalRoots.set(sstId, external);
    }
  }
  return {
    kind: "job",
    folder,
    root,
    externalRoots,
    // What is given may hold more than this, and not all of it can cross.
    encoding: { blockSizeBytes, compression, minFilterKeys, filterBitsPerKey },
    maxSstBytes,
    above: spec.mint(),
    retryMillis,
    attemptTimeoutMillis,
    plan: merged,
  };
}

/** The thread of one job. */
class CompactionThread {
  readonly #spec: ThreadRunnerSpec;
  readonly #number: number;
  readonly #counts: CompactionCounts;
  readonly #ended: OneShot<JobFault> = new OneShot();
  #worker: Worker | undefined = undefined;
  #outputs: ReadonlyArray<ReadonlyArray<CompactionOutput>> = [];
  #defect: Error | undefined = undefined;
  #counted: MeterReport | undefined = undefined;
  #isDegraded = false;
  #isSilent = false;

  constructor(spec: ThreadRunnerSpec, number: number, counts: CompactionCounts) {
    this.#spec = spec;
    this.#number = number;
    this.#counts = counts;
  }

  /** Starts the thread on its job. What goes wrong ends the job. */
  start(job: ThreadJob): void {
    try {
      const worker = new Worker(entryOf(this.#spec.entry));
      this.#worker = worker;
      worker.on("message", (message: FromThread) => this.#hear(message));
      worker.on("messageerror", (error: unknown) => this.#lost(textOf(error)));
      worker.on("error", (error: unknown) => this.#lost(textOf(error)));
      worker.on("exit", (code: number) => this.#lost(`it ended with code ${code}`));
      worker.postMessage(job satisfies ToThread);
    } catch (error) {
      this.#lost(textOf(error));
    }
  }

  /** What the job made, when it is done. */
  get outcome(): Effect.Effect<ReadonlyArray<ReadonlyArray<CompactionOutput>>, JobFault> {
    return Effect.andThen(
      Effect.raceFirst(this.#ended.wait, this.#silence),
      Effect.suspend(() => this.#defect === undefined ? Effect.succeed(this.#outputs) : Effect.die(this.#defect)),
    );
  }

  /** Ends the thread; one that is at work is asked to give its uploads up before. */
  get end(): Effect.Effect<void> {
    return Effect.suspend(() => {
      const worker = this.#worker;
      if (worker === undefined) return Effect.void;
      if (!this.#ended.settled) worker.postMessage({ kind: "stop" } satisfies ToThread);
      const stopped = Effect.raceFirst(Effect.ignore(this.#ended.wait), Effect.sleep(STOP_MILLIS));
      const gone = Effect.raceFirst(
        Effect.ignore(Effect.tryPromise(() => worker.terminate())),
        Effect.sleep(END_MILLIS),
      );
      return Effect.andThen(
        stopped,
        Effect.suspend(() => {
          this.#lost("it was stopped");
          return gone;
        }),
      );
    });
  }

  /** Fails when nothing was heard in two spans: a process that slept for long hears first what was said meanwhile. */
  get #silence(): Effect.Effect<never, JobFault> {
    return Effect.forever(Effect.andThen(
      Effect.sleep(SILENCE_MILLIS),
      Effect.suspend(() => {
        if (this.#isSilent) return Effect.fail(threadLost(`it has said nothing for ${(2 * SILENCE_MILLIS) / 1000} s`));
        this.#isSilent = true;
        return Effect.void;
      }),
    ));
  }

  #hear(message: FromThread): void {
    if (this.#ended.settled) return;
    this.#isSilent = false;
    if (message.kind === "degraded") {
      const { report } = message;
      this.#degraded(report === undefined ? undefined : { ...report, error: errorOf(report.error) as StoreError });
      return;
    }
    const { counts, requests } = message;
    this.#counts.bytesIn = counts.bytesIn;
    this.#counts.bytesOut = counts.bytesOut;
    this.#spec.meter.add(requests, this.#counted);
    this.#counted = requests;
    if (message.kind === "progress") return;
    this.#degraded(undefined);
    if (message.kind === "made") {
      this.#outputs = message.outputs;
      for (const { view } of message.outputs.flat()) this.#spec.observe(view.sstId);
      return this.#ended.succeed();
    }
    const error = errorOf(message.fault);
    if (error instanceof StoreError || error instanceof DataError) return this.#ended.fail(error);
    this.#defect = error;
    this.#ended.succeed();
  }

  #degraded(report: DegradedReport | undefined): void {
    const isDegraded = report !== undefined;
    if (!isDegraded && !this.#isDegraded) return;
    this.#isDegraded = isDegraded;
    this.#spec.onDegraded(this.#number, isDegraded, report);
  }

  #lost(why: string): void {
    this.#degraded(undefined);
    this.#ended.fail(threadLost(why));
  }
}

function threadLost(why: string): Unavailable {
  return new Unavailable({
    reason: "compaction-thread",
    message: `The thread of a compaction is lost: ${why}. Nothing else is; another try follows. If this goes on, ` +
      "leave out compactor.thread",
  });
}

/** The program of a thread, as something that a worker can be started from. */
function entryOf(given: URL | undefined): URL {
  // Packages for Node hold this file as JavaScript.
  const entry = given ??
    (import.meta.url.endsWith(".ts")
      ? new URL("./compaction_thread_entry.ts", import.meta.url)
      : new URL("./compaction_thread_entry.js", import.meta.url));
  if (entry.protocol === "file:" || entry.protocol === "data:") return entry;
  // Deno loads modules from afar, but starts such a thread from a local one only.
  return new URL(`data:text/javascript,${encodeURIComponent(`import ${JSON.stringify(entry.href)};`)}`);
}
