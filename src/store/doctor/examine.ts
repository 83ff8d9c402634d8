/**
 * Examines whether a store keeps the promises that the engine stands on, and how fast it is.
 *
 * All of it happens in a folder of a random name, which is deleted again whatever happens: also after a failure, and when
 * the examination is interrupted. Nothing else is written, read or listed, so it may run beside live databases. Probes
 * run one after the other; each has a deadline, as has every request.
 *
 * @module
 */
import { Cause, Clock, Effect } from "effect";
import { toHex } from "../../bytes/hex.ts";
import { Ids } from "../../env/ids.ts";
import { StoreError, textOf } from "../../errors.ts";
import { memoryStore } from "../memory_store.ts";
import type { ObjectStoreShape } from "../object_store.ts";
import { RetryDeadline } from "../retrying_store.ts";
import { CONDITIONAL_PROBES } from "./conditional_probes.ts";
import { LISTING_PROBES } from "./listing_probes.ts";
import { OBJECT_PROBES, reachProbe } from "./object_probes.ts";
import { type DoctorReport, type DoctorRow, judge } from "./report.ts";
import { SPEED_PROBES } from "./speed_probes.ts";
import { Broken, type Probe, REQUEST_MILLIS, Workbench } from "./workbench.ts";

export type { DoctorReport, DoctorRow, Finding, Fitness, RowVerdict } from "./report.ts";

/** Longest that one probe may take, ms. */
const PROBE_MILLIS: number = 120_000;
const PREFIX_BYTES = 8;

const PROBES: ReadonlyArray<Probe> = [
  reachProbe,
  ...CONDITIONAL_PROBES,
  ...OBJECT_PROBES,
  ...LISTING_PROBES,
  ...SPEED_PROBES,
];

/** Names of all rows, in their order. */
export const DOCTOR_ROWS: ReadonlyArray<string> = PROBES.map(({ name }) => name);

/** Settings of {@linkcode examineStore}. */
export interface DoctorOptions {
  /** Folder of the store to work in; default: the store's own root. */
  readonly root?: string;
  /** Fewer rounds and smaller bodies: a third of the requests, a twentieth of the bytes. */
  readonly quick?: boolean;
  /** Also lists more than a page, which takes some 1,100 puts. */
  readonly pages?: boolean;
  /** Told of each row as it is there, with the number of rows there will be. */
  readonly onRow?: (row: DoctorRow, total: number) => void;
  /** Told what could not be deleted again, also where the examination ended early. */
  readonly onLeft?: (paths: ReadonlyArray<string>) => void;
}

/** Examines `store`. Fails with nothing: what goes wrong is a row of the report. */
export function examineStore(store: ObjectStoreShape, options: DoctorOptions = {}): Effect.Effect<DoctorReport> {
  return Effect.gen(function* () {
    const ids = yield* Ids;
    const clock = yield* Clock.Clock;
    const { root = "", quick = false, pages = false } = options;
    const folder = `phyllite-doctor-${toHex(ids.randomBytes(PREFIX_BYTES))}/`;
    const bench = new Workbench(store, root === "" ? folder : `${root}/${folder}`, { quick, pages });
    const begun = clock.monotonicTimeNanosUnsafe();
    const rows: DoctorRow[] = [];
    const left = yield* Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        const exit = yield* Effect.exit(restore(runProbes(bench, rows, options)));
        const stays = yield* bench.cleanUp;
        if (stays.length > 0) options.onLeft?.(stays);
        yield* exit;
        return stays;
      })
    );
    const { bytesRead, bytesWritten } = bench.meter.report();
    return {
      ...judge(rows, new Map(PROBES.map(({ name, cost }) => [name, cost]))),
      rows,
      prefix: bench.prefix,
      requests: bench.requests,
      bytesRead,
      bytesWritten,
      millis: Math.round(Number(clock.monotonicTimeNanosUnsafe() - begun) / 1e6),
      left,
    };
  });
}

/** How many requests of which kind an examination makes where nothing has to be repeated: counted on a memory store. */
export function plannedRequests(
  store: ObjectStoreShape,
  options: Pick<DoctorOptions, "quick" | "pages"> = {},
): Effect.Effect<Readonly<Record<string, number>>> {
  return Effect.suspend(() => {
    const rehearsal = memoryStore();
    const deleteMany = store.deleteMany === undefined
      ? undefined
      : (paths: ReadonlyArray<string>) => Effect.forEach(paths, rehearsal.delete, { discard: true });
    return Effect.map(
      examineStore({ ...rehearsal, deleteMany }, options),
      ({ requests }) => requests,
    );
  });
}

function runProbes(bench: Workbench, rows: DoctorRow[], options: DoctorOptions): Effect.Effect<void> {
  return Effect.gen(function* () {
    let reachable = true;
    for (const probe of PROBES) {
      const row = reachable ? yield* runProbe(bench, probe) : skipped(probe);
      if (probe === reachProbe && row.verdict === "fail") reachable = false;
      rows.push(row);
      options.onRow?.(row, PROBES.length);
    }
  }).pipe(Effect.provideService(RetryDeadline, REQUEST_MILLIS));
}

function skipped({ name }: Probe): DoctorRow {
  return { name, verdict: "skipped", detail: "the store cannot be reached" };
}

function runProbe(bench: Workbench, { name, run }: Probe): Effect.Effect<DoctorRow> {
  return Effect.suspend(() => run(bench)).pipe(
    Effect.map((finding): DoctorRow => ({ name, ...finding })),
    Effect.timeoutOrElse({
      duration: PROBE_MILLIS,
      orElse: () =>
        Effect.succeed<DoctorRow>({ name, verdict: "fail", detail: `no end within ${PROBE_MILLIS / 1000} s` }),
    }),
    // A defect in a user's own store is a finding too; an interruption is not.
    Effect.catchCause((cause) => {
      if (Cause.hasInterrupts(cause)) return Effect.failCause(cause as Cause.Cause<never>);
      const error = Cause.squash(cause);
      if (error instanceof StoreError && error.op === "putIfAbsent" && error.reason === "unsupported") {
        return Effect.succeed<DoctorRow>({ name, verdict: "skipped", detail: "the store knows no conditional writes" });
      }
      const detail = error instanceof Broken ? error.message : `could not be examined: ${textOf(error)}`;
      return Effect.succeed<DoctorRow>({ name, verdict: "fail", detail });
    }),
  );
}
