/**
 * Databases to collect, in virtual time: passes from outside, collectors that run, what is stored afterwards.
 *
 * @module
 */
import { Effect, Exit, Scope } from "effect";
import { virtualClockContext } from "../../src/env/virtual_clock.ts";
import type { GcReport } from "../../src/db/admin_api.ts";
import type { Manifest } from "../../src/format/types.ts";
import { encodeManifest } from "../../src/format/manifest_codec.ts";
import { manifestPath } from "../../src/format/paths.ts";
import { ManifestHandle } from "../../src/state/manifest_handle.ts";
import { ManifestStore } from "../../src/state/manifest_store.ts";
import type { ObjectStoreShape } from "../../src/store/object_store.ts";
import {
  collectOnce,
  type GarbageCollector,
  garbageCollector,
  type GarbageCollectorSpec,
  type GcPass,
  type GcPassSpec,
} from "../../tasks/garbage_collector.ts";
import { World } from "../db/fault_world.ts";

/** Ages of the tests, ms. */
export const AGES = { minAgeMillis: 300_000, walFenceMinAgeMillis: Infinity };
/** The default interval with the most that chance adds, ms. */
export const INTERVAL = 600_000;
export const INTERVAL_MAX = 660_000;

/** A world without embedded compactor and collector, whose garbage tests make and collect themselves. */
export class GcWorld extends World {
  /** A handle on the newest manifest, not fenced; what a standalone collector has. */
  handle(store: ObjectStoreShape = this.store): Promise<ManifestHandle> {
    const versions = new ManifestStore(store, "");
    return this.run(Effect.map(versions.newest, (stored) => new ManifestHandle(versions, stored!, false)));
  }

  /** Runs an effect on the world's clock. */
  run<A, E>(effect: Effect.Effect<A, E>, withinMillis = 100_000): Promise<A> {
    const context = virtualClockContext(this.clock);
    return this.get(Effect.runPromise(Effect.provideContext(effect, context)), withinMillis);
  }

  /** One pass from outside. */
  async pass(options: { readonly dryRun?: boolean } = {}, spec: Partial<GcPassSpec> = {}): Promise<GcPass> {
    const store = spec.store ?? this.store;
    const manifest = spec.manifest ?? await this.handle(store);
    return await this.run(
      collectOnce({ walStore: store, root: "", settings: AGES, ...spec, store, manifest }, options),
    );
  }

  /** A collector that runs until the answer's `stop` is called. */
  async start(spec: Partial<GarbageCollectorSpec> = {}): Promise<Running> {
    const troubles: Array<string | undefined> = [];
    const reports: GcReport[] = [];
    const store = spec.store ?? this.store;
    const scope = Scope.makeUnsafe();
    const manifest = spec.manifest ?? await this.handle(store);
    const collector = await this.run(
      Scope.provide(
        garbageCollector({
          walStore: store,
          root: "",
          settings: { ...AGES, intervalMillis: INTERVAL },
          onTrouble: (trouble) => troubles.push(trouble),
          onReport: (report) => reports.push(report),
          ...spec,
          store,
          manifest,
        }),
        scope,
      ),
    );
    return { collector, manifest, troubles, reports, stop: () => this.run(Scope.close(scope, Exit.void)) };
  }

  /** Lets time pass. */
  async wait(millis: number): Promise<void> {
    await this.clock.advance(millis);
  }

  /** Stores the next manifest version behind everybody's back; answers its number. */
  plantManifest(change: (current: Manifest) => Partial<Manifest>): number {
    const newest = this.paths("manifest").at(-1)!;
    const id = Number(newest.slice("manifest/".length, -".manifest".length)) + 1;
    const current = this.manifest;
    this.inner.plant(manifestPath("", id), encodeManifest({ ...current, ...change(current) }), {
      lastModifiedMillis: this.clock.now(),
    });
    return id;
  }
}

/** A collector at work. */
export interface Running {
  readonly collector: GarbageCollector;
  readonly manifest: ManifestHandle;
  readonly troubles: Array<string | undefined>;
  readonly reports: GcReport[];
  readonly stop: () => Promise<void>;
}

/** A world with options for writers that do nothing by themselves. */
export function gcWorld(): GcWorld {
  return new GcWorld({ compactor: false, garbageCollector: false });
}

/** Writes `rounds` times, with a table each; leaves WAL objects, tables and versions. */
export async function fill(world: GcWorld, rounds: number, sessions = 1): Promise<void> {
  for (let session = 0; session < sessions; session++) {
    const db = await world.open();
    for (let i = 0; i < rounds; i++) {
      await world.get(db.put(`k${i}`, `v${session}-${i}`));
      await world.get(db.flush({ kind: "memtable" }));
      await world.wait(1000);
    }
    await world.get(db.close());
  }
}
