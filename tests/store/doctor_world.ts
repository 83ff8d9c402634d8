/**
 * Examinations by the doctor, and memory stores that break a promise.
 *
 * @module
 */
import { Effect } from "effect";
import { virtualClock, virtualClockContext } from "../../src/env/virtual_clock.ts";
import { type DoctorOptions, type DoctorReport, examineStore } from "../../src/store/doctor/examine.ts";
import { type MemoryStore, memoryStore } from "../../src/store/memory_store.ts";
import type { ObjectStoreShape } from "../../src/store/object_store.ts";

export const QUICK: DoctorOptions = { quick: true };

export function examine(store: ObjectStoreShape, options: DoctorOptions = QUICK): Promise<DoctorReport> {
  return Effect.runPromise(examineStore(store, options));
}

/** Examines in virtual time, as much as it takes. */
export async function examineSlow(store: ObjectStoreShape, options: DoctorOptions = QUICK): Promise<DoctorReport> {
  const clock = virtualClock(1_000_000);
  let report: DoctorReport | undefined;
  const done = Effect.runPromise(Effect.provideContext(examineStore(store, options), virtualClockContext(clock)), {
    scheduler: clock.scheduler,
  }).then((value) => report = value);
  for (let i = 0; i < 100_000 && report === undefined; i++) await clock.advance(100);
  return await done;
}

export function rowsThat(report: DoctorReport, verdict: string): string[] {
  return report.rows.filter((row) => row.verdict === verdict).map(({ name }) => name);
}

export function detailOf(report: DoctorReport, name: string): string {
  return report.rows.find((row) => row.name === name)!.detail;
}

/** A memory store with some operations changed. */
export type Lie = (inner: MemoryStore) => Partial<ObjectStoreShape>;

export function lying(lie: Lie): { readonly store: ObjectStoreShape; readonly inner: MemoryStore } {
  const inner = memoryStore();
  return { store: { ...inner, ...lie(inner) }, inner };
}
