/**
 * The thread's side of a compaction: opens the folder for itself, runs the one job that it is sent, tells what came of it.
 *
 * Whoever started the thread ends it. Told to stop, it gives its uploads up first, so that not even temporary files stay.
 * Imported outside of a thread, this does nothing.
 *
 * @module
 */
import { type MessagePort, parentPort } from "node:worker_threads";
import { Cause, Clock, Effect, Exit, type Fiber } from "effect";
import { Ids, UlidMint } from "../src/env/ids.ts";
import { BlockCache } from "../src/lsm/block_cache.ts";
import { TableStore } from "../src/lsm/table_store.ts";
import { folderStore } from "../src/store/folder_store.ts";
import { metered, StoreMeter } from "../src/store/metered_store.ts";
import { RetryDeadline, retrying } from "../src/store/retrying_store.ts";
import { StoreHealth } from "../src/store/store_health.ts";
import {
  detachedView,
  faultOf,
  type FromThread,
  storeFaultOf,
  type ThreadJob,
  type ThreadProgress,
  type ToThread,
} from "./compaction_thread_messages.ts";
import { type CompactionOutput, runCompaction } from "./compaction_worker.ts";

/** Time between two reports of progress, ms. They are also the sign of life. */
const PROGRESS_MILLIS = 100;

if (parentPort !== null) serve(parentPort);

function serve(port: MessagePort): void {
  let job: Fiber.Fiber<unknown, unknown> | undefined = undefined;
  port.on("message", (message: ToThread) => {
    if (message.kind === "stop") job?.interruptUnsafe();
    else job = Effect.runFork(work(message, (told) => port.postMessage(told)));
  });
}

function work(job: ThreadJob, tell: (message: FromThread) => void): Effect.Effect<void, unknown> {
  return Effect.gen(function* () {
    const clock = yield* Clock.Clock;
    const mint = new UlidMint(yield* Ids);
    mint.observe(job.above);
    const meter = new StoreMeter();
    const counts = { bytesIn: 0, bytesOut: 0 };
    const progress = (): ThreadProgress => ({ counts: { ...counts }, requests: meter.report() });
    const store = retrying(metered(folderStore(job.folder).store, { component: "compactor", meter }), {
      attemptTimeoutMillis: job.attemptTimeoutMillis,
      // With a budget of its own: a thread cannot share one with the process that started it.
      background: true,
      health: new StoreHealth({
        onDegraded: (degraded, report) => {
          const told = degraded && report !== undefined ? { ...report, error: storeFaultOf(report.error) } : undefined;
          tell({ kind: "degraded", report: told });
        },
      }),
    });
    const { root, encoding, maxSstBytes, plan } = job;
    const tables = new TableStore({
      store,
      root,
      externalRoot: (id) => job.externalRoots.get(id),
      cache: new BlockCache({ blockBytes: 0 }),
    });
    const mintTableId = () => mint.mint(Math.floor(clock.currentTimeMillisUnsafe()));
    const merging = runCompaction(
      { store, tables, root, encoding, merge: undefined, mintTableId, maxSstBytes },
      plan,
      counts,
    );
    const reporting = Effect.forever(
      Effect.andThen(Effect.sleep(PROGRESS_MILLIS), Effect.sync(() => tell({ kind: "progress", ...progress() }))),
    );
    yield* Effect.raceFirst(merging, reporting).pipe(
      Effect.provideService(RetryDeadline, job.retryMillis),
      Effect.onExit((exit) => Effect.sync(() => tell({ ...outcomeOf(exit), ...progress() }))),
    );
  });
}

type Outputs = ReadonlyArray<ReadonlyArray<CompactionOutput>>;

function outcomeOf(exit: Exit.Exit<Outputs, unknown>) {
  if (Exit.isFailure(exit)) return { kind: "failed", fault: faultOf(Cause.squash(exit.cause)) } as const;
  const outputs = exit.value.map((segment) =>
    segment.map(({ view, bytes, isPlain }) => ({ view: detachedView(view), bytes, isPlain }))
  );
  return { kind: "made", outputs } as const;
}
