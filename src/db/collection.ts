/**
 * Puts the garbage collector of an open database together.
 *
 * Its requests are counted as "gc". Being the writer's own, it knows which tables are being uploaded, so that it need
 * not keep everything that is younger than the newest published table.
 *
 * @module
 */
import { Effect, type Scope } from "effect";
import type { Ulid } from "../format/types.ts";
import type { ManifestHandle } from "../state/manifest_handle.ts";
import type { WriterState } from "../state/writer_state.ts";
import { type GarbageCollector, garbageCollector, type GarbageCollectorSpec } from "../../tasks/garbage_collector.ts";
import type { Supervisor } from "../../tasks/supervisor.ts";
import { type ResolvedGc, resolveGcOptions } from "./gc_options.ts";
import type { Stores } from "./stores.ts";

/** What a collector is put together from. */
export interface CollectorBase {
  readonly supervisor: Supervisor;
  readonly stores: Stores;
  readonly root: string;
  readonly manifest: ManifestHandle;
  readonly state: WriterState;
  /** Undefined: collects only when asked. */
  readonly settings: ResolvedGc | undefined;
  readonly onChange: () => void;
  readonly onReport?: GarbageCollectorSpec["onReport"];
}

/** The running collector and what is wrong with it. */
export interface Collector extends GarbageCollector {
  /** Why the last pass failed; undefined when it did not. */
  readonly trouble: () => string | undefined;
}

/** Starts a collector in the current scope. */
export function startCollector(base: CollectorBase): Effect.Effect<Collector, never, Scope.Scope> {
  const { supervisor, stores, root, manifest, state, onReport } = base;
  const settings = base.settings ?? { ...resolveGcOptions(), intervalMillis: Infinity };
  let trouble: string | undefined = undefined;
  return Effect.map(
    garbageCollector({
      store: stores.mainFor("gc", false),
      walStore: stores.walFor("gc"),
      root,
      manifest,
      settings,
      inFlight: () => new Set<Ulid>(state.frozen.map((table) => table.sstId)),
      onPinned: (id, pinned) => state.gatedVersions.note(id, pinned),
      onTrouble: (text) => {
        trouble = text;
        base.onChange();
      },
      onClosed: (error) => void supervisor.close(error),
      ...(onReport === undefined ? {} : { onReport }),
    }),
    (collector) => ({
      changed: collector.changed,
      orphaned: collector.orphaned,
      collect: collector.collect,
      collectNow: collector.collectNow,
      trouble: () => trouble,
    }),
  );
}
