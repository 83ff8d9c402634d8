/**
 * Probes of single objects: what was written is read back, whole and in parts, and gone when deleted.
 *
 * @module
 */
import { Effect } from "effect";
import { bytesEqual } from "../../bytes/compare.ts";
import { ifThere } from "../if_there.ts";
import type { ByteRange } from "../object_store.ts";
import {
  expect,
  expectBytes,
  expectMissing,
  passed,
  type Probe,
  probeBytes,
  type ProbeFault,
  textBytes,
  type Workbench,
} from "./workbench.ts";

/** Whether the store answers at all; without it nothing else is asked. */
export const reachProbe: Probe = {
  name: "reachable",
  cost: "nothing can be stored there now",
  run: (bench) =>
    Effect.gen(function* () {
      const path = bench.at("reach/object");
      const body = textBytes("phyllite doctor");
      yield* bench.store.put(path, body);
      yield* expectBytes(yield* bench.store.get(path), body, "the first object");
      return passed("an object was written and read");
    }),
};

const readAfterWriteProbe: Probe = {
  name: "read-after-write",
  cost: "an opening could miss the newest manifest or a part of the log, and lose what was acknowledged",
  run: (bench) =>
    Effect.gen(function* () {
      const rounds = bench.settings.quick ? 3 : 10;
      for (let i = 0; i < rounds; i++) {
        const path = bench.at(`fresh/${i}`);
        const body = probeBytes(100 + i, i);
        // Asked for before it is there: a store that remembers "not found" would hide it.
        yield* expectMissing(bench.store.get(path), "an object was read before it was written");
        yield* bench.store.putIfAbsent(path, body);
        yield* seen(bench, path, body, "a new object");
        const next = probeBytes(150 + i, i + 1_000);
        yield* bench.store.put(path, next);
        yield* seen(bench, path, next, "a replaced object");
      }
      return passed(`${rounds} new and ${rounds} replaced objects were read at once, also where "not found" was said`);
    }),
};

function seen(bench: Workbench, path: string, body: Uint8Array, what: string): Effect.Effect<void, ProbeFault> {
  return Effect.gen(function* () {
    const found = yield* ifThere(bench.store.get(path));
    yield* expect(found !== undefined, `${what} was not found right after it was written`);
    yield* expect(bytesEqual(found!, body), `${what} was read as it was before`);
    const { size } = yield* bench.store.head(path);
    yield* expect(size === body.length, `${what} of ${body.length} bytes is said to have ${size}`);
  });
}

const wholeProbe: Probe = {
  name: "whole objects",
  cost: "a reader could take half a manifest for a damaged database",
  run: (bench) =>
    Effect.gen(function* () {
      const path = bench.at("whole/object");
      const size = bench.settings.quick ? 64 * 1024 : 512 * 1024;
      const rounds = bench.settings.quick ? 3 : 8;
      const versions = Array.from({ length: rounds + 1 }, (_, i) => probeBytes(size + i * 1_000, 50 + i));
      yield* bench.store.put(path, versions[0]!);
      let reads = 0;
      for (let i = 1; i <= rounds; i++) {
        const wanted = [versions[i - 1]!, versions[i]!];
        const [, found] = yield* Effect.all([
          bench.store.put(path, versions[i]!),
          Effect.forEach([0, 1, 2], () => bench.store.get(path), { concurrency: 3 }),
        ], { concurrency: 2 });
        reads += found.length;
        for (const body of found) {
          yield* expect(wanted.some((one) => bytesEqual(one, body)), "a read during a replacement is a mix of both");
        }
      }
      return passed(`${reads} reads during ${rounds} replacements saw one version, whole`);
    }),
};

const rangeProbe: Probe = {
  name: "range reads",
  cost: "reads would return wrong rows, or fail on sound tables",
  run: (bench) =>
    Effect.gen(function* () {
      const path = bench.at("range/object");
      const size = 100_000;
      const body = probeBytes(size, 7);
      yield* bench.store.put(path, body);
      const ranges: ReadonlyArray<readonly [what: string, range: ByteRange]> = [
        ["the first byte", { offset: 0, length: 1 }],
        ["the first 4 KiB", { offset: 0, length: 4_096 }],
        ["the middle", { offset: 40_001, length: 10_007 }],
        ["the last byte", { offset: size - 1, length: 1 }],
        ["the last 7 bytes", { offset: size - 7, length: 7 }],
        ["the whole", { offset: 0, length: size }],
      ];
      for (const [what, { offset, length }] of ranges) {
        const part = yield* bench.store.getRange(path, { offset, length });
        yield* expectBytes(part, body.subarray(offset, offset + length), `the range of ${what}`);
      }
      const past = [["across", { offset: size - 5, length: 10 }], ["beyond", { offset: size, length: 1 }]] as const;
      for (const [what, range] of past) {
        const answer = yield* Effect.catch(
          Effect.as(bench.store.getRange(path, range), "bytes"),
          (error) => error.reason === "short-read" ? Effect.succeed("short") : Effect.fail(error),
        );
        yield* expect(
          answer === "short",
          `a range ${what} the end is answered with fewer bytes, as if that were right`,
        );
      }
      const wanted = [ranges[2]![1], ranges[0]![1], ranges[4]![1]];
      const parts = yield* bench.store.getRanges(path, wanted);
      for (const [i, { offset, length }] of wanted.entries()) {
        yield* expectBytes(
          parts[i] ?? new Uint8Array(0),
          body.subarray(offset, offset + length),
          `range ${i} of several`,
        );
      }
      return passed(`${ranges.length} ranges read exactly, two past the end refused`);
    }),
};

const deleteProbe: Probe = {
  name: "delete",
  cost: "garbage collection would free nothing, or fail again and again",
  run: (bench) =>
    Effect.gen(function* () {
      const path = bench.at("delete/object");
      const neighbour = bench.at("delete/object2");
      yield* bench.store.put(path, textBytes("x"));
      yield* bench.store.put(neighbour, textBytes("y"));
      yield* bench.store.delete(path);
      yield* expectMissing(bench.store.get(path), "a deleted object can still be read");
      yield* expectMissing(bench.store.head(path), "a deleted object can still be seen");
      yield* bench.store.delete(path);
      yield* bench.store.delete(bench.at("delete/never"));
      yield* expectBytes(yield* bench.store.get(neighbour), textBytes("y"), "the neighbour of a deleted object");
      yield* bench.store.put(path, textBytes("z"));
      yield* expectBytes(yield* bench.store.get(path), textBytes("z"), "an object written where one was deleted");
      return passed("deleted objects are gone, deleting nothing succeeds");
    }),
};

const deleteManyProbe: Probe = {
  name: "delete many",
  cost: "garbage collection would free nothing, or what is needed",
  run: (bench) =>
    Effect.gen(function* () {
      const { deleteMany } = bench.store;
      if (deleteMany === undefined) {
        return { verdict: "skipped", detail: "this store deletes one by one" };
      }
      const paths = Array.from({ length: 6 }, (_, i) => bench.at(`delete-many/${i} +&ö`));
      yield* Effect.forEach(paths, (path) => bench.store.put(path, textBytes(path)), { concurrency: 6 });
      const [kept, ...gone] = paths;
      yield* deleteMany([...gone, bench.at("delete-many/never")]);
      for (const path of gone) {
        yield* expectMissing(bench.store.get(path), "an object that was deleted among others can still be read");
      }
      yield* expectBytes(yield* bench.store.get(kept!), textBytes(kept!), "an object that was not to be deleted");
      return passed(`${gone.length} objects and one that was not there, gone with one request`);
    }),
};

const copyProbe: Probe = {
  name: "copy",
  cost: "clones would begin with a wrong log",
  run: (bench) =>
    Effect.gen(function* () {
      const source = bench.at("copy/source");
      const target = bench.at("copy/deeper/target");
      const body = probeBytes(10_000, 11);
      yield* bench.store.put(source, body);
      yield* bench.store.put(target, textBytes("replaced"));
      yield* bench.store.copy(source, target);
      yield* expectBytes(yield* bench.store.get(target), body, "the copy");
      yield* expectBytes(yield* bench.store.get(source), body, "the source of a copy");
      const missing = bench.store.copy(bench.at("copy/never"), bench.at("copy/from-never"));
      yield* expectMissing(missing, "a copy of an object that does not exist succeeds");
      return passed("copies hold what their sources hold");
    }),
};

/** What the engine writes, and what users may call their databases. */
const NAMES: ReadonlyArray<string> = [
  "manifest/00000000000000000001.manifest",
  "compacted/01K3ZZZZZZZZZZZZZZZZZZZZZZ.sst",
  "wal/00000000000000000001.sst",
  "gc/manifest.boundary",
  "a b/c d.e",
  "a+b/c d.e",
  "a+b&c=d;e,f (1)'~!@$#/x",
  "d\u00e9j\u00e0/\u65e5\u672c/\u{1f600}",
  `${"deep/".repeat(20)}end`,
  "n".repeat(200),
  `${"n".repeat(199)}m`,
];

const nameProbe: Probe = {
  name: "names",
  cost: "databases below such paths would be lost or mixed up",
  run: (bench) =>
    Effect.gen(function* () {
      for (const name of NAMES) {
        const path = bench.at(`names/${name}`);
        yield* bench.store.putIfAbsent(path, textBytes(name));
      }
      for (const name of NAMES) {
        const body = yield* ifThere(bench.store.get(bench.at(`names/${name}`)));
        const isOwn = body !== undefined && bytesEqual(body, textBytes(name));
        yield* expect(isOwn, `${JSON.stringify(name.slice(0, 40))} holds something else`);
      }
      return passed(`${NAMES.length} names, with spaces, signs, other scripts, 20 folders deep, 200 bytes long`);
    }),
};

/** The probes of this file, but for {@linkcode reachProbe}. */
export const OBJECT_PROBES: ReadonlyArray<Probe> = [
  readAfterWriteProbe,
  wholeProbe,
  rangeProbe,
  deleteProbe,
  deleteManyProbe,
  copyProbe,
  nameProbe,
];
