/**
 * Conformance: listings. Order, pages, folders, foreign names, freshness.
 *
 * @module
 */
import { Effect } from "effect";
import { type CheckContext, expect, expectEqual, expectRefusal, type StoreCheck, utf8 } from "./check.ts";

/** Names that are hard to order: bytes below and above "/", capitals, characters beyond U+FFFF. */
const AWKWARD_NAMES = [
  "A",
  "B/1",
  "a",
  "a-",
  "a-/x",
  "a.b",
  "a/1",
  "a/10",
  "a/2",
  "a/b/c",
  "a/b/d",
  "a/b0",
  "a0",
  "aa/1",
  "b",
  "\u00e9",
  "\ue000",
  "\uff5e/1",
  "\u{10000}",
];

function byUtf8(a: string, b: string): number {
  const x = utf8(a);
  const y = utf8(b);
  for (let i = 0; i < Math.min(x.length, y.length); i++) if (x[i] !== y[i]) return x[i]! - y[i]!;
  return x.length - y.length;
}

/** All names below `prefix`, walked page by page, with the checks that hold for every page. */
async function walk({ store, run }: CheckContext, prefix: string, startAfter?: string): Promise<Array<string>> {
  const names: Array<string> = [];
  let after = startAfter;
  for (let pages = 0;; pages++) {
    expect(pages < 100, "the listing never ends");
    const page = await run(after === undefined ? store.list(prefix) : store.list(prefix, after));
    expect(page.objects.length <= 1000, `a page has ${page.objects.length} objects`);
    expect(page.objects.length > 0 || !page.truncated, "an empty page claims that more follows");
    for (const { path } of page.objects) {
      const last = names.at(-1);
      expect(last === undefined || byUtf8(last, path) < 0, `${path} is listed after ${last}`);
      names.push(path);
    }
    if (!page.truncated) return names;
    after = names.at(-1);
  }
}

function expectNames(actual: ReadonlyArray<string>, expected: ReadonlyArray<string>, what: string): void {
  expectEqual(JSON.stringify(actual), JSON.stringify(expected), what);
}

/** The checks of this file. */
export const LISTING_CHECKS: ReadonlyArray<StoreCheck> = [
  {
    name: "list of nothing is an empty page",
    check: async (context) => {
      expectNames(await walk(context, ""), [], "the listing of an empty store");
      expectNames(await walk(context, "none/at/all/"), [], "the listing of a missing folder");
    },
  },
  {
    name: "list is in the order of the names' UTF-8 bytes, folders and all",
    check: async (context) => {
      const { store, run } = context;
      // A name may not be an object and a folder at once: not every store can do that.
      const names = AWKWARD_NAMES.filter((name) => !AWKWARD_NAMES.some((other) => other.startsWith(`${name}/`)));
      for (const name of [...names].reverse()) await run(store.put(name, utf8(name)));
      const sorted = [...names].sort(byUtf8);
      expectNames(await walk(context, ""), sorted, "the listing");
      for (const after of [...names, "", "a/", "a/1x", "a/b", "a-/", "zzz", "\u{10ffff}"]) {
        const expected = sorted.filter((name) => byUtf8(name, after) > 0);
        expectNames(await walk(context, "", after), expected, `the listing after ${JSON.stringify(after)}`);
        const below = expected.filter((name) => name.startsWith("a/"));
        expectNames(await walk(context, "a/", after), below, `the listing of a/ after ${JSON.stringify(after)}`);
      }
    },
  },
  {
    name: "list of a folder shows that folder only, with all below it",
    check: async (context) => {
      const { store, run } = context;
      for (const name of ["wal/1", "wal/sub/2", "wal2/3", "wal.old/4", "xwal/5", "x/wal/6"]) {
        await run(store.put(name, utf8(name)));
      }
      expectNames(await walk(context, "wal/"), ["wal/1", "wal/sub/2"], "wal/");
      expectNames(await walk(context, "wal/sub/"), ["wal/sub/2"], "wal/sub/");
      expectNames(await walk(context, "x/"), ["x/wal/6"], "x/");
      expectNames(await walk(context, "wa/"), [], "wa/");
      for (const bad of ["wal", "/", "/wal/", "../", "wal/../", "wal//"]) {
        await expectRefusal(run, store.list(bad), `list of ${JSON.stringify(bad)}`, "invalid-path");
      }
    },
  },
  {
    name: "list goes on over pages of at most 1000, without gaps or doubles",
    check: async (context) => {
      const { store, run } = context;
      const names = Array.from({ length: 2_101 }, (_, i) => `many/${String(i).padStart(20, "0")}.sst`);
      await run(
        Effect.forEach(names, (name) => store.put(name, new Uint8Array(1)), { concurrency: 16, discard: true }),
      );
      await run(store.put("before", utf8("x")));
      await run(store.put("zafter", utf8("x")));
      expectNames(await walk(context, "many/"), names, "the folder");
      expectNames(await walk(context, ""), ["before", ...names, "zafter"], "the whole store");
      expectNames(await walk(context, "many/", names[1_999]), names.slice(2_000), "the rest");
      expectNames(await walk(context, "many/", names[1_100]), names.slice(1_101), "what fits into one page");
      // A store may end a page early: S3 promises no more than a mark that there is more to come.
      const { length } = (await run(store.list("many/", names[1_000]))).objects;
      expect(length >= 1 && length <= 1_000, `a page holds 1 to 1000 objects, not ${length}`);
    },
  },
  {
    name: "list sees what was put or deleted before it began, also between two pages",
    check: async ({ store, run }) => {
      for (let i = 0; i < 50; i++) {
        const name = `log/${String(i).padStart(3, "0")}`;
        await run(i % 2 === 0 ? store.put(name, utf8(name)) : store.putIfAbsent(name, utf8(name)));
        const page = await run(store.list("log/"));
        expectEqual(page.objects.at(-1)?.path, name, "the newest object listed");
        expectEqual(page.objects.at(-1)?.size, 7, "its size");
        if (i % 5 === 4) {
          await run(store.delete(name));
          expect(
            !(await run(store.list("log/"))).objects.some(({ path }) => path === name),
            "a deleted object is listed",
          );
        }
      }
    },
  },
  {
    name: "list answers the size and time that head answers",
    check: async ({ store, run }) => {
      for (let i = 0; i < 5; i++) await run(store.put(`f/${i}`, new Uint8Array(i * 100)));
      for (const listed of (await run(store.list("f/"))).objects) {
        const head = await run(store.head(listed.path));
        expectEqual(listed.size, head.size, "the size");
        // Some stores list whole seconds.
        const apart = Math.abs(listed.lastModifiedMillis - head.lastModifiedMillis);
        expect(apart < 1_000, `the times are ${apart} ms apart`);
      }
    },
  },
];
