/**
 * Looks for newer manifest versions while this writer has work under way, so that a successor is noticed before long.
 *
 * An idle database costs nothing: the poller sleeps only while rows or tables wait, stops by itself when nothing does,
 * and is woken by the next write. A proof of the epoch that came from elsewhere (a commit, a check before an
 * acknowledgement) counts as a poll.
 *
 * @module
 */
import { Effect, type Scope } from "effect";
import type { ManifestFault, ManifestHandle } from "../src/state/manifest_handle.ts";
import type { WriterState } from "../src/state/writer_state.ts";
import { type Actor, spawn } from "./actor.ts";
import type { Supervisor } from "./supervisor.ts";

/** What the poller works with. */
export interface ManifestPollerSpec {
  readonly supervisor: Supervisor;
  readonly state: WriterState;
  readonly manifest: ManifestHandle;
  /** Time between polls while busy, ms. */
  readonly intervalMillis: number;
  /** The same while idle, ms; Infinity = never. */
  readonly idleMillis: number;
}

/** "busy": work began. */
export type PollerMessage = "busy";

/** Starts the poller in the current scope. */
export function manifestPoller(spec: ManifestPollerSpec): Effect.Effect<Actor<PollerMessage>, never, Scope.Scope> {
  const idle = Effect.sleep(spec.idleMillis).pipe(
    Effect.andThen(spec.manifest.refresh),
    Effect.forever({ disableYield: true }),
    spec.supervisor.watch("manifest poller"),
    Effect.forkScoped,
  );
  const busy = spawn<PollerMessage, ManifestFault, never>(spec.supervisor, {
    name: "manifest poller",
    kinds: ["busy"],
    handle: (_, self) =>
      Effect.gen(function* () {
        if (!spec.state.isBusy) return;
        yield* Effect.sleep(spec.intervalMillis);
        if (!spec.state.isBusy) return;
        if ((yield* spec.manifest.sinceObserved) >= spec.intervalMillis) yield* spec.manifest.refresh;
        self.tell("busy");
      }),
  });
  return Number.isFinite(spec.idleMillis) ? Effect.andThen(idle, busy) : busy;
}
