/**
 * Probes of how fast a store is, and of its clock. Slowness is no broken promise: it warns.
 *
 * @module
 */
import { Clock, Effect } from "effect";
import type { StoreError } from "../../errors.ts";
import { expect, passed, type Probe, probeBytes, textBytes, timed, type Workbench } from "./workbench.ts";

/** Median of a small request above which the store is called slow, ms. */
const SLOW_MEDIAN_MILLIS = 1_000;
/** Throughput below which the store is called slow, bytes per second. */
const SLOW_BYTES_PER_SECOND = 1_000_000;
/** Difference of clocks that is worth a warning, ms. */
const SKEW_WARN_MILLIS = 10_000;
/** Difference of clocks that is too much: the least age at which collectors delete, ms. */
const SKEW_FAIL_MILLIS = 300_000;

/** Stores tell times in whole seconds. */
const GRAIN_MILLIS = 1_000;
const MIB = 1024 * 1024;

interface Spread {
  readonly p50: number;
  readonly p99: number;
}

function spread(millis: ReadonlyArray<number>): Spread {
  const sorted = [...millis].sort((a, b) => a - b);
  const at = (share: number) => rounded(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!);
  return { p50: at(0.5), p99: at(0.99) };
}

/** Two digits behind the point are enough for people and programs. */
function rounded(value: number): number {
  return Math.round(value * 100) / 100;
}

const latencyProbe: Probe = {
  name: "latency",
  cost: "every durable write waits so long",
  run: (bench) =>
    Effect.gen(function* () {
      const rounds = bench.settings.quick ? 10 : 40;
      const body = probeBytes(400, 31);
      const puts = yield* eachTimed(rounds, (i) => bench.store.putIfAbsent(bench.at(`latency/${i}`), body));
      const gets = yield* eachTimed(rounds, (i) => bench.store.get(bench.at(`latency/${i}`)));
      const folder = bench.folder("latency");
      const lists = yield* eachTimed(bench.settings.quick ? 3 : 10, () => bench.store.list(folder));
      const [put, get, list] = [spread(puts), spread(gets), spread(lists)];
      const words = ([["conditional put", put], ["get", get], ["list", list]] as const).map(([what, { p50, p99 }]) =>
        `${what} ${p50} ms (p99 ${p99})`
      );
      const figures = {
        putP50Millis: put.p50,
        putP99Millis: put.p99,
        getP50Millis: get.p50,
        getP99Millis: get.p99,
        listP50Millis: list.p50,
        listP99Millis: list.p99,
      };
      const slow = Math.max(put.p50, get.p50, list.p50) > SLOW_MEDIAN_MILLIS;
      return { verdict: slow ? "warn" : "pass", detail: `${words.join(", ")}${slow ? ": slow" : ""}`, figures };
    }),
};

function eachTimed(
  count: number,
  request: (index: number) => Effect.Effect<unknown, StoreError>,
): Effect.Effect<number[], StoreError> {
  return Effect.forEach(
    Array.from({ length: count }, (_, i) => i),
    (i) => Effect.map(timed(request(i)), ([, millis]) => millis),
  );
}

const throughputProbe: Probe = {
  name: "throughput",
  cost: "flushes and compactions take so long",
  run: (bench) =>
    Effect.gen(function* () {
      const count = bench.settings.quick ? 1 : 4;
      const size = bench.settings.quick ? MIB : 4 * MIB;
      const body = probeBytes(size, 37);
      const paths = Array.from({ length: count }, (_, i) => bench.at(`throughput/${i}`));
      const all = { concurrency: count, discard: true } as const;
      const [, up] = yield* timed(Effect.forEach(paths, (path) => bench.store.put(path, body), all));
      const [, down] = yield* timed(Effect.forEach(paths, (path) => bench.store.get(path), all));
      const perSecond = (millis: number) => Math.round(count * size / Math.max(millis, 0.001) * 1_000);
      const figures = { bytes: count * size, upBytesPerSecond: perSecond(up), downBytesPerSecond: perSecond(down) };
      const words = (rate: number) => `${rounded(rate / 1e6)} MB/s`;
      const { upBytesPerSecond, downBytesPerSecond } = figures;
      const slow = Math.min(upBytesPerSecond, downBytesPerSecond) < SLOW_BYTES_PER_SECOND;
      const detail = `${words(upBytesPerSecond)} up, ${words(downBytesPerSecond)} down${slow ? ": slow" : ""}`;
      return { verdict: slow ? "warn" : "pass", detail: `${detail}, ${count} at once`, figures };
    }),
};

const clockProbe: Probe = {
  name: "clock",
  cost: "garbage collection goes by ages, and could delete what is still needed",
  run: (bench) =>
    Effect.gen(function* () {
      const skewMillis = yield* skew(bench);
      const seconds = `${rounded(Math.abs(skewMillis) / 1_000)} s`;
      const detail = skewMillis === 0
        ? "the store's clock and this machine's agree within a second"
        : `the store's clock is ${seconds} ${skewMillis > 0 ? "ahead of" : "behind"} this machine's`;
      yield* expect(Math.abs(skewMillis) <= SKEW_FAIL_MILLIS, detail);
      const figures = { skewMillis };
      return Math.abs(skewMillis) > SKEW_WARN_MILLIS ? { verdict: "warn", detail, figures } : passed(detail, figures);
    }),
};

/** How far the time of a new object lies outside the time in which it was written, ms; positive: the store is ahead. */
function skew(bench: Workbench): Effect.Effect<number, StoreError> {
  return Effect.gen(function* () {
    const path = bench.at("clock/object");
    const clock = yield* Clock.Clock;
    const before = clock.currentTimeMillisUnsafe();
    yield* bench.store.put(path, textBytes("x"));
    const after = clock.currentTimeMillisUnsafe();
    const { lastModifiedMillis } = yield* bench.store.head(path);
    if (lastModifiedMillis > after + GRAIN_MILLIS) return Math.round(lastModifiedMillis - after);
    if (lastModifiedMillis < before - GRAIN_MILLIS) return Math.round(lastModifiedMillis - before);
    return 0;
  });
}

/** The probes of this file. */
export const SPEED_PROBES: ReadonlyArray<Probe> = [latencyProbe, throughputProbe, clockProbe];
