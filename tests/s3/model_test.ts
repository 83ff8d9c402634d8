/**
 * Random histories on real servers: the store in S3 answers what the store in memory answers.
 *
 * @module
 */
import { Effect } from "effect";
import fc from "fast-check";
import type { StoreError } from "../../src/errors.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import { deleteAll, type ObjectStoreShape } from "../../src/store/object_store.ts";
import { storeBelow } from "../../src/store/store_below.ts";
import { assert, it } from "../support/suite.ts";
import { ALL, describeOnServers, freshFolder, s3Store, storeOptions } from "./places.ts";

/** One step of a history, fit to be printed. */
type Step =
  | { readonly op: "put" | "create" | "upload"; readonly path: string; readonly size: number }
  | { readonly op: "get" | "head" | "delete"; readonly path: string }
  | { readonly op: "ranges"; readonly path: string; readonly ranges: readonly (readonly [number, number])[] }
  | { readonly op: "list"; readonly prefix: string; readonly after: string | undefined }
  | { readonly op: "deleteAll"; readonly paths: readonly string[] }
  | { readonly op: "copy"; readonly source: string; readonly target: string };

const PATHS = ["a", "b/1", "b/2", "b/c/1", "wal/00000000000000000001.sst", "d \u00e9+&=<x>/\u{1f600}'\"!()*~,;@$"];

const path = fc.constantFrom(...PATHS);
const size = fc.constantFrom(0, 1, 1000, 70_000);
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ op: fc.constantFrom("put", "create", "upload"), path, size }),
  fc.record({ op: fc.constantFrom("get", "head", "delete"), path }),
  fc.record({
    op: fc.constant("ranges"),
    path,
    ranges: fc.array(fc.tuple(fc.constantFrom(0, 1, 990, 40_000), fc.constantFrom(1, 10, 30_000)), {
      minLength: 1,
      maxLength: 4,
    }),
  }),
  fc.record({
    op: fc.constant("list"),
    prefix: fc.constantFrom("", "b/", "wal/", "none/"),
    after: fc.option(path, { nil: undefined }),
  }),
  fc.record({ op: fc.constant("deleteAll"), paths: fc.uniqueArray(path) }),
  fc.record({ op: fc.constant("copy"), source: path, target: path }),
) as fc.Arbitrary<Step>;

/** What `store` answers, without what stores may choose. */
function answer(store: ObjectStoreShape, step: Step, at: number): Effect.Effect<unknown, StoreError> {
  switch (step.op) {
    case "put":
      return store.put(step.path, bytes(step.size, at));
    case "create":
      return store.putIfAbsent(step.path, bytes(step.size, at), { putId: `id-${at}` });
    case "upload":
      return Effect.flatMap(
        store.upload(step.path),
        (upload) => Effect.andThen(upload.write(bytes(step.size, at)), upload.complete),
      );
    case "get":
      return store.get(step.path);
    case "head":
      return Effect.map(store.head(step.path), ({ path, size, putId }) => ({ path, size, putId }));
    case "delete":
      return store.delete(step.path);
    case "ranges":
      return store.getRanges(step.path, step.ranges.map(([offset, length]) => ({ offset, length })));
    case "list":
      return Effect.map(store.list(step.prefix, step.after), ({ objects, truncated }) => ({
        objects: objects.map(({ path, size }) => ({ path, size })),
        truncated,
      }));
    case "deleteAll":
      return deleteAll(store, step.paths);
    case "copy":
      return store.copy(step.source, step.target);
  }
}

function bytes(size: number, seed: number): Uint8Array {
  return Uint8Array.from({ length: size }, (_, i) => i * 7 + seed);
}

async function outcome(store: ObjectStoreShape, step: Step, at: number): Promise<unknown> {
  const result = await Effect.runPromise(Effect.result(answer(store, step, at)));
  if (result._tag === "Success") return result.success ?? "done";
  const { reason, retryable, outcome } = result.failure;
  return { reason, retryable, outcome };
}

describeOnServers("histories", (place) => {
  it("the store answers what the store in memory answers, step by step", async () => {
    const store = s3Store(storeOptions(place));
    try {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 30 }), async (steps) => {
          const model = memoryStore();
          const below = storeBelow(store, freshFolder());
          for (const [at, one] of steps.entries()) {
            assert.deepEqual(await outcome(below, one, at), await outcome(model, one, at), `step ${at}`);
          }
        }),
        { seed: 20261121, numRuns: ALL ? 100 : 12 },
      );
    } finally {
      await store.close();
    }
  });
});
