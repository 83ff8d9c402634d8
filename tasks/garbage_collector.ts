/**
 * Deletes what nothing reaches any more, when there is something to do and at no other time.
 *
 * A pass is due one interval after the last one if the manifest has changed since, an upload has failed, or a compaction
 * that kept tables has not ended. Else it is due when something that the last pass kept may go by its age or by the end
 * of a checkpoint. Deletions that failed are tried again an interval later, and after twice as long each time that
 * nothing went and the manifest stayed the same, up to six hours: a role that may not delete costs next to nothing. When
 * none of these holds there is no timer and no request. Opening counts as a change: a crash may have left objects behind.
 *
 * Not critical: a pass that fails is told as trouble and made again, later each time; only the end of the handle (a
 * successor took over) ends the collector too. One pass at a time; whoever waits for one is answered at close.
 *
 * @module
 */
import { Cause, Effect, type Scope, Semaphore } from "effect";
import { Ids } from "../src/env/ids.ts";
import { OneShot } from "../src/env/one_shot.ts";
import { Closed, StoreError, textOf } from "../src/errors.ts";
import type { GcReport } from "../src/state/gc_report.ts";
import { GcMemory } from "../src/state/gc_memory.ts";
import { collectOnce, type GcPass, type GcPassSpec } from "../src/state/gc_pass.ts";
import type { GcAges } from "../src/state/gc_rules.ts";
import type { ManifestFault } from "../src/state/manifest_handle.ts";
import { elapsedMillis, type EngineTime, engineTime } from "../src/state/numbered_versions.ts";
import { RetryDeadline } from "../src/store/retrying_store.ts";

export { collectOnce, type GcPass, type GcPassSpec } from "../src/state/gc_pass.ts";

/** How and when to collect. */
export interface GcSettings extends GcAges {
  /** Time between passes while there are changes, ms; Infinity = only when asked. */
  readonly intervalMillis: number;
}

/** What a collector works with. */
export interface GarbageCollectorSpec extends Omit<GcPassSpec, "settings" | "memory"> {
  readonly settings: GcSettings;
  /** Told what is wrong when a pass fails or leaves something undone, and undefined when one does not any more. */
  readonly onTrouble: (trouble: string | undefined) => void;
  /** Told what each pass did, dry runs left out. */
  readonly onReport?: (report: GcReport) => void;
  /** Told when a pass found that this process is not the writer any more. */
  readonly onClosed?: (error: Closed) => void;
}

/** A running collector. */
export interface GarbageCollector {
  /** The manifest has changed. Cheap; call it for every version adopted. */
  readonly changed: () => void;
  /** An upload failed or was given up: an object may stand there that nothing names. */
  readonly orphaned: () => void;
  /** Collects now; after a pass under way. A dry run changes nothing and does not count as a pass. */
  readonly collect: (dryRun: boolean) => Effect.Effect<GcReport, ManifestFault>;
  /** `collect(false)`. */
  readonly collectNow: Effect.Effect<GcReport, ManifestFault>;
}

/** Passes because of ages and endings are at least so far apart, ms. */
const SPACING_MILLIS = 60_000;
/** Wait after the first failure, ms; it doubles up to the interval. */
const BACK_OFF_MILLIS = 30_000;
/** Longest sleep, ms: both clocks are looked at again then. No request is made for that. */
const SLEEP_MILLIS = 3_600_000;
/** How long one request of a pass may be repeated, ms: the next pass is the better repetition. */
const REQUEST_MILLIS = 30_000;
/** Longest wait between passes that can delete nothing of what they should, unless the interval is longer, ms. */
const STALLED_MAX_MILLIS = 6 * 3_600_000;
/** Part of the interval that is added by chance, so that many databases do not collect at once. */
const JITTER = 0.1;

/** Starts a collector in the current scope; the end of the scope interrupts it. */
export function garbageCollector(spec: GarbageCollectorSpec): Effect.Effect<GarbageCollector, never, Scope.Scope> {
  return Effect.gen(function* () {
    const jitter = ((yield* Ids).randomBytes(1)[0]! / 256) * JITTER;
    const collector = new Collector(spec, jitter, yield* engineTime);
    yield* Effect.forkScoped(collector.loop);
    yield* Effect.addFinalizer(() => Effect.sync(() => collector.close()));
    return collector;
  });
}

class Collector implements GarbageCollector {
  readonly #spec: GarbageCollectorSpec;
  readonly #intervalMillis: number;
  readonly #memory = new GcMemory();
  readonly #turn = Semaphore.makeUnsafe(1);
  readonly #closed = new OneShot<Closed>();
  /** Rung when the next pass may be due earlier than was thought. */
  #bell = new OneShot<never>();
  /** When the last pass ended or failed, or the collector began. */
  #lastAt: EngineTime;
  #last: GcPass | undefined = undefined;
  /** Whether the manifest is another than the one the last pass judged by. */
  #dirty = true;
  #orphaned = false;
  /** What the last pass left undone without a change to come: compactions that had not ended. */
  #unfinished = false;
  /** Passes in a row whose deletions failed, since something was deleted or the manifest changed. */
  #stalled = 0;
  /** The compactions that kept tables at the last pass, and in which version: met again, they are no news. */
  #held = "";
  #failures = 0;
  #troubled = false;

  constructor(spec: GarbageCollectorSpec, jitter: number, now: EngineTime) {
    this.#spec = spec;
    this.#intervalMillis = spec.settings.intervalMillis * (1 + jitter);
    this.#lastAt = now;
    this.#memory.observe(spec.manifest.stored);
  }

  readonly changed = (): void => {
    const { stored } = this.#spec.manifest;
    this.#memory.observe(stored);
    const before = this.#dirty;
    this.#dirty = stored.id !== this.#last?.manifestId;
    if (this.#dirty && !before) this.#ring();
  };

  readonly orphaned = (): void => {
    if (this.#orphaned) return;
    this.#orphaned = true;
    this.#ring();
  };

  readonly collect = (dryRun: boolean): Effect.Effect<GcReport, ManifestFault> =>
    Effect.suspend(() => {
      if (this.#closed.error !== undefined) return Effect.fail(this.#closed.error);
      const pass = dryRun ? collectOnce(this.#passSpec, { dryRun }) : this.#pass;
      return Effect.raceFirst(
        Effect.map(this.#turn.withPermit(pass), ({ report }) => report),
        Effect.andThen(this.#closed.wait, Effect.never),
      );
    });

  readonly collectNow: Effect.Effect<GcReport, ManifestFault> = Effect.suspend(() => this.collect(false));

  /** Answers everybody who waits for a pass. */
  close(): void {
    this.#closed.fail(new Closed({ reason: "clean", message: "Closed: the garbage collector has ended" }));
  }

  /** Waits until a pass is due, makes it, and so on. */
  readonly loop: Effect.Effect<void> = Effect.gen({ self: this }, function* () {
    while (true) {
      const bell = this.#bell.wait;
      const millis = this.#dueIn(yield* engineTime);
      if (millis > 0) {
        yield* millis === Infinity
          ? bell
          : Effect.raceFirst(Effect.sleep(Math.min(Math.ceil(millis), SLEEP_MILLIS)), bell);
      } else if (!(yield* this.#turn.withPermit(this.#attempt))) return;
    }
  });

  /** Time until the next pass, ms; 0 or less = now, Infinity = nothing is to be done. */
  #dueIn(now: EngineTime): number {
    const interval = this.#intervalMillis;
    if (interval === Infinity) return Infinity;
    const since = elapsedMillis(this.#lastAt, now);
    if (this.#failures > 0) return Math.min(interval, BACK_OFF_MILLIS * 2 ** (this.#failures - 1)) - since;
    // While there are changes, ages and endings wait for the next regular pass: they are many then.
    if (this.#dirty || this.#orphaned || this.#unfinished) return interval - since;
    const age = (this.#last?.dueAt ?? Infinity) - this.#memory.nowAt(now);
    if (this.#stalled === 0) return Math.max(age, Math.min(SPACING_MILLIS, interval) - since);
    const wait = Math.min(interval * 2 ** (this.#stalled - 1), Math.max(interval, STALLED_MAX_MILLIS));
    return Math.min(wait - since, Math.max(age, interval - since));
  }

  get #passSpec(): GcPassSpec {
    return { ...this.#spec, memory: this.#memory };
  }

  readonly #pass: Effect.Effect<GcPass, ManifestFault> = Effect.suspend(() => {
    const orphaned = this.#orphaned;
    this.#orphaned = false;
    return collectOnce(this.#passSpec).pipe(
      Effect.tap((pass) => Effect.map(engineTime, (now) => this.#note(pass, now))),
      Effect.onError(() => Effect.sync(() => void (this.#orphaned ||= orphaned))),
      Effect.tapError((error) =>
        Effect.sync(() => {
          if (error instanceof Closed) this.#spec.onClosed?.(error);
        })
      ),
    );
  });

  /** The pass of the loop; false when it was the last one. */
  readonly #attempt: Effect.Effect<boolean> = Effect.suspend((): Effect.Effect<void, ManifestFault> =>
    // Somebody may have asked for a pass while this one waited for its turn.
    Effect.flatMap(engineTime, (now) => this.#dueIn(now) > 0 ? Effect.void : Effect.asVoid(this.#pass))
  ).pipe(
    Effect.provideService(RetryDeadline, REQUEST_MILLIS),
    Effect.as(true),
    Effect.catchCause((cause) => {
      const error = Cause.squash(cause);
      if (error instanceof Closed) return Effect.succeed(false);
      return Effect.map(engineTime, (now) => {
        this.#lastAt = now;
        this.#failures++;
        this.#tell(`Garbage collection failed and will be tried again: ${textOf(error)}`);
        return true;
      });
    }),
  );

  #note(pass: GcPass, now: EngineTime): void {
    const held = pass.heldBy === "" ? "" : `${pass.manifestId} ${pass.heldBy}`;
    this.#unfinished = held !== "" && held !== this.#held;
    this.#held = held;
    const isNew = pass.manifestId !== this.#last?.manifestId ||
      Object.values(pass.report.deleted).some((paths) => paths.length > 0);
    this.#stalled = pass.failure instanceof StoreError ? (isNew ? 1 : this.#stalled + 1) : 0;
    this.#last = pass;
    this.#lastAt = now;
    this.#failures = 0;
    this.#dirty = this.#spec.manifest.stored.id !== pass.manifestId;
    this.#ring();
    const { stopped } = pass.report;
    if (stopped !== undefined) this.#tell(`Garbage collection deletes nothing: ${stopped}`);
    else if (pass.failure === undefined) this.#tell(undefined);
    else this.#tell(`Garbage collection could not delete everything: ${pass.failure.message}`);
    this.#spec.onReport?.(pass.report);
  }

  #tell(trouble: string | undefined): void {
    if (trouble === undefined && !this.#troubled) return;
    this.#troubled = trouble !== undefined;
    this.#spec.onTrouble(trouble);
  }

  #ring(): void {
    const bell = this.#bell;
    this.#bell = new OneShot();
    bell.succeed();
  }
}
