/**
 * Probes of listings and of uploads in parts: what is shown, in which order, and from when on.
 *
 * @module
 */
import { Effect } from "effect";
import { listAll } from "../list_all.ts";
import type { ObjectStoreShape, Upload } from "../object_store.ts";
import { compareNames } from "../store_names.ts";
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

/** More than one page of a listing. */
const PAGED_OBJECTS = 1_100;
const MIB = 1024 * 1024;

function namesBelow(store: ObjectStoreShape, folder: string, after?: string): Effect.Effect<string[], ProbeFault> {
  const names: string[] = [];
  return Effect.as(listAll(store, folder, after, ({ path }) => void names.push(path)), names);
}

const freshProbe: Probe = {
  name: "list-after-write",
  cost: "an opening could overlook the end of the log, and lose what was acknowledged",
  run: (bench) =>
    Effect.gen(function* () {
      const rounds = bench.settings.quick ? 3 : 10;
      const folder = bench.folder("listed");
      for (let i = 0; i < rounds; i++) {
        const path = bench.at(`listed/${String(i).padStart(20, "0")}.sst`);
        yield* i % 2 === 0
          ? bench.store.put(path, textBytes("x"))
          : Effect.asVoid(bench.store.putIfAbsent(path, textBytes("x")));
        const names = yield* namesBelow(bench.store, folder);
        yield* expect(names.includes(path), "a new object is not listed right after it was written");
        if (i % 3 !== 2) continue;
        yield* bench.store.delete(path);
        const later = yield* namesBelow(bench.store, folder);
        yield* expect(!later.includes(path), "a deleted object is still listed");
      }
      return passed(`${rounds} new objects were listed at once, deleted ones no more`);
    }),
};

/** Names whose order tells bytes from letters, folders from names, and whole names from beginnings. */
const ORDERED: ReadonlyArray<string> = [
  "A",
  "B/1",
  "a",
  "a b&+c",
  "a-/x",
  "a.b",
  "a0",
  "aa/1",
  "b/10",
  "b/2",
  "\u00e9",
  "\uff5e",
];

const orderProbe: Probe = {
  name: "list order",
  cost: "an opening could take an older manifest for the newest",
  run: (bench) =>
    Effect.gen(function* () {
      const folder = bench.folder("order");
      const beside = bench.at("order2/x");
      yield* bench.store.put(beside, textBytes("x"));
      const paths = ORDERED.map((name) => bench.at(`order/${name}`));
      yield* Effect.forEach([...paths].reverse(), (path) => bench.store.put(path, textBytes("x")), { concurrency: 4 });
      const sorted = [...paths].sort(compareNames);
      const same = (actual: ReadonlyArray<string>, wanted: ReadonlyArray<string>, what: string) =>
        expect(JSON.stringify(actual) === JSON.stringify(wanted), what);
      yield* same(
        yield* namesBelow(bench.store, folder),
        sorted,
        "a folder is not listed whole, in the order of its names' bytes",
      );
      for (const at of [0, 5, sorted.length - 1]) {
        const rest = yield* namesBelow(bench.store, folder, sorted[at]);
        yield* same(rest, sorted.slice(at + 1), "a listing after a name does not go on right behind it");
      }
      const between = yield* namesBelow(bench.store, folder, `${folder}aaa`);
      const behind = sorted.filter((path) => compareNames(path, `${folder}aaa`) > 0);
      yield* same(between, behind, "a listing after a name that is not there does not go on right behind it");
      const sizes = (yield* bench.store.list(bench.folder("order2"))).objects.map(({ size }) => size);
      yield* expect(JSON.stringify(sizes) === "[1]", "a listing tells wrong sizes, or shows another folder");
      return passed(`${sorted.length} names in the order of their bytes, from any name on`);
    }),
};

const pagesProbe: Probe = {
  name: "list pages",
  cost: "an opening could overlook the end of a long log",
  run: (bench) =>
    Effect.gen(function* () {
      if (!bench.settings.pages) {
        return { verdict: "skipped", detail: `takes ${PAGED_OBJECTS} objects; ask for it with pages` };
      }
      const folder = bench.folder("pages");
      const paths = Array.from(
        { length: PAGED_OBJECTS },
        (_, i) => bench.at(`pages/${String(i).padStart(20, "0")}.sst`),
      );
      yield* Effect.forEach(paths, (path) => bench.store.put(path, textBytes("x")), { concurrency: 16, discard: true });
      const listed = yield* namesBelow(bench.store, folder);
      yield* expect(
        JSON.stringify(listed) === JSON.stringify(paths),
        `of ${paths.length} objects ${listed.length} are listed, or not in order`,
      );
      const rest = yield* namesBelow(bench.store, folder, paths[999]);
      yield* expect(
        rest.length === PAGED_OBJECTS - 1_000,
        `${rest.length} objects are listed behind the thousandth of ${PAGED_OBJECTS}`,
      );
      return passed(`${PAGED_OBJECTS} objects over several pages, none missing or doubled`);
    }),
};

const uploadProbe: Probe = {
  name: "upload in parts",
  cost: "large tables could be seen before they are whole, or never be stored",
  run: (bench) =>
    Effect.gen(function* () {
      const size = bench.settings.quick ? MIB : 20 * MIB;
      const body = probeBytes(size, 23);
      const path = bench.at("upload/large");
      yield* uploading(bench, path, (upload) =>
        Effect.gen(function* () {
          const piece = Math.ceil(size / 7);
          for (let at = 0; at < size; at += piece) yield* upload.write(body.subarray(at, Math.min(at + piece, size)));
          yield* expectMissing(bench.store.head(path), "an upload can be seen before it is complete");
          yield* upload.complete;
        }));
      yield* expectBytes(yield* bench.store.get(path), body, "an object that was uploaded in parts");
      const tail = yield* bench.store.getRange(path, { offset: size - 100, length: 100 });
      yield* expectBytes(tail, body.subarray(size - 100), "the end of an object that was uploaded in parts");
      return passed(`${size / MIB} MiB in parts, not to be seen before they were complete`, { bytes: size });
    }),
};

const abortProbe: Probe = {
  name: "upload given up",
  cost: "what a compaction gave up would be taken for a table",
  run: (bench) =>
    Effect.gen(function* () {
      const path = bench.at("upload-aborted/large");
      const body = probeBytes(100_000, 29);
      yield* uploading(bench, path, (upload) => Effect.asVoid(upload.write(body)));
      yield* expectMissing(bench.store.get(path), "an upload that was given up left an object");
      const listed = yield* bench.store.list(bench.folder("upload-aborted"));
      yield* expect(listed.objects.length === 0, "an upload that was given up is listed");
      return passed("an upload that was given up left nothing to be seen");
    }),
};

/** Uses an upload; gives it up unless it was completed, also when interrupted. */
function uploading(
  bench: Workbench,
  path: string,
  use: (upload: Upload) => Effect.Effect<void, ProbeFault>,
): Effect.Effect<void, ProbeFault> {
  return Effect.acquireUseRelease(bench.store.upload(path), use, (upload) => upload.abort);
}

/** The probes of this file. */
export const LISTING_PROBES: ReadonlyArray<Probe> = [freshProbe, orderProbe, pagesProbe, uploadProbe, abortProbe];
