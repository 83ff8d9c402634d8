/** The doctor on stores that break one promise: the right row says so, and no other. */
import { Effect } from "effect";
import { StoreError } from "../../src/errors.ts";
import type { MemoryStore } from "../../src/store/memory_store.ts";
import type { ObjectMeta } from "../../src/store/object_store.ts";
import { assert, describe, it } from "../support/suite.ts";
import { detailOf, examine, type Lie, lying, QUICK, rowsThat } from "./doctor_world.ts";

const exists = (inner: MemoryStore, path: string) => inner.peek(path) !== undefined;

const sameBytes = (a: Uint8Array, b: Uint8Array) => a.length === b.length && a.every((byte, i) => byte === b[i]);

/** Every broken promise, and the rows that it breaks. */
const LIES: ReadonlyArray<readonly [what: string, lie: Lie, rows: ReadonlyArray<string>]> = [
  ["creates replace", (inner) => ({
    putIfAbsent: (path, body, id) => Effect.andThen(inner.delete(path), inner.putIfAbsent(path, body, id)),
  }), ["create-if-absent race", "reject-create"]],
  ["creates look first and write later", (inner) => ({
    putIfAbsent: (path, body, id) =>
      Effect.suspend(() =>
        exists(inner, path)
          ? Effect.succeed("exists" as const)
          : Effect.andThen(Effect.yieldNow, Effect.andThen(inner.delete(path), inner.putIfAbsent(path, body, id)))
      ),
  }), ["create-if-absent race"]],
  ["creates of the same bytes win", (inner) => ({
    putIfAbsent: (path, body, id) =>
      Effect.suspend(() =>
        exists(inner, path) && sameBytes(inner.peek(path)!, body)
          ? Effect.succeed("created" as const)
          : inner.putIfAbsent(path, body, id)
      ),
  }), ["reject-create"]],
  ["creates of the same bytes win over puts", (inner) => ({
    putIfAbsent: (path, body, id) =>
      Effect.suspend(() => {
        if (!path.includes("reject/0")) return inner.putIfAbsent(path, body, id);
        return Effect.as(inner.put(path, body), "created" as const);
      }),
  }), ["reject-create"]],
  ["creates of the same bytes win over creates", (inner) => ({
    putIfAbsent: (path, body, id) =>
      path.includes("reject/3")
        ? Effect.as(inner.put(path, body), "created" as const)
        : inner.putIfAbsent(path, body, id),
  }), ["reject-create"]],
  ["refused creates leave their bytes", (inner) => ({
    putIfAbsent: (path, body, id) =>
      Effect.suspend(() => {
        if (!exists(inner, path)) return inner.putIfAbsent(path, body, id);
        inner.plant(path, body, { lastModifiedMillis: 1, putId: "the-first-put" });
        return Effect.succeed("exists" as const);
      }),
  }), ["create-if-absent race", "reject-create"]],
  ["no create ever wins", () => ({ putIfAbsent: () => Effect.succeed("exists" as const) }), [
    "create-if-absent race",
    "reject-create",
    "put-id",
    "read-after-write",
    "names",
    "list-after-write",
    "latency",
  ]],
  ["conditions are not known", () => ({
    putIfAbsent: (path) =>
      Effect.fail(
        new StoreError({ op: "putIfAbsent", path, reason: "unsupported", retryable: false, outcome: "none" }),
      ),
  }), ["create-if-absent race", "reject-create"]],
  ["put-ids are another's", (inner) => ({
    head: (path) => Effect.map(inner.head(path), (meta) => meta.putId === undefined ? meta : { ...meta, putId: "x" }),
  }), ["put-id"]],
  ["not found is remembered", (inner) => {
    const missed = new Map<string, number>();
    return {
      get: (path) =>
        Effect.suspend(() => {
          const times = missed.get(path) ?? 0;
          if (times > 0) {
            missed.set(path, times - 1);
            return inner.get(`${path}-never`);
          }
          if (!exists(inner, path) && !path.includes("delete")) missed.set(path, 1);
          return inner.get(path);
        }),
    };
  }, ["read-after-write"]],
  ["a replaced object is read as before, once", (inner) => {
    const before = new Map<string, Uint8Array>();
    return {
      put: (path, body) =>
        Effect.suspend(() => {
          const old = inner.peek(path);
          if (old !== undefined) before.set(path, old);
          return inner.put(path, body);
        }),
      get: (path) =>
        Effect.suspend(() => {
          const old = before.get(path);
          before.delete(path);
          return old !== undefined && !path.includes("copy") ? Effect.succeed(old) : inner.get(path);
        }),
    };
  }, ["read-after-write"]],
  ["sizes are wrong", (inner) => ({
    head: (path) => Effect.map(inner.head(path), (meta) => ({ ...meta, size: meta.size + 1 })),
  }), ["read-after-write"]],
  ["replacements happen in two halves", (inner) => ({
    put: (path, body) =>
      Effect.suspend(() => {
        const old = inner.peek(path);
        if (old === undefined || body.length < 10_000) return inner.put(path, body);
        const mixed = Uint8Array.from(body);
        mixed.set(old.subarray(0, body.length >> 1));
        return Effect.andThen(inner.put(path, mixed), Effect.andThen(Effect.sleep(1), inner.put(path, body)));
      }),
  }), ["whole objects"]],
  ["the last bytes are others", (inner) => ({
    getRange: (path, { offset, length }) =>
      inner.getRange(path, { offset: length === 7 ? offset - 1 : offset, length }),
  }), ["range reads"]],
  ["ranges past the end are cut", (inner) => ({
    getRange: (path, { offset, length }) =>
      Effect.map(inner.get(path), (body) => body.subarray(offset, offset + length)),
  }), ["range reads"]],
  ["several ranges come in order of offset", (inner) => ({
    getRanges: (path, ranges) => inner.getRanges(path, [...ranges].sort((a, b) => a.offset - b.offset)),
  }), ["range reads"]],
  ["deleting nothing fails", (inner) => ({
    delete: (path) => Effect.andThen(inner.head(path), inner.delete(path)),
  }), ["delete"]],
  ["deleted objects can be read", (inner) => {
    const deleted = new Map<string, Uint8Array>();
    return {
      delete: (path) =>
        Effect.suspend(() => {
          const body = inner.peek(path);
          if (body !== undefined) deleted.set(path, body);
          return inner.delete(path);
        }),
      get: (path) => Effect.suspend(() => deleted.has(path) ? Effect.succeed(deleted.get(path)!) : inner.get(path)),
    };
  }, ["delete"]],
  ["deleting a name deletes what begins so", (inner) => ({
    delete: (path) =>
      Effect.sync(() => inner.objects().filter((name) => name.startsWith(path)).forEach((name) => inner.remove(name))),
  }), ["delete"]],
  ["many are not deleted", () => ({ deleteMany: () => Effect.void }), ["delete many"]],
  ["more than many are deleted", (inner) => ({
    deleteMany: (paths) =>
      Effect.sync(() => {
        const folder = paths[0]!.slice(0, paths[0]!.lastIndexOf("/"));
        inner.objects().filter((name) => name.startsWith(folder)).forEach((name) => inner.remove(name));
      }),
  }), ["delete many"]],
  ["copies are empty", (inner) => ({ copy: (_, target) => inner.put(target, new Uint8Array(0)) }), ["copy"]],
  ["copies of nothing succeed", (inner) => ({
    copy: (source, target) => Effect.ignore(inner.copy(source, target)),
  }), ["copy"]],
  ["plus means space", (inner) => ({
    put: (path, body) => inner.put(path.replaceAll("+", " "), body),
    get: (path) => inner.get(path.replaceAll("+", " ")),
    head: (path) => inner.head(path.replaceAll("+", " ")),
    delete: (path) => inner.delete(path.replaceAll("+", " ")),
    putIfAbsent: (path, body, id) => inner.putIfAbsent(path.replaceAll("+", " "), body, id),
  }), ["names", "list order"]],
  ["long names are cut", (inner) => ({
    get: (path) => inner.get(path.slice(0, 150)),
    putIfAbsent: (path, body, id) => inner.putIfAbsent(path.slice(0, 150), body, id),
  }), ["names"]],
  ["new objects are listed late", (inner) => {
    const hidden = new Set<string>();
    return {
      putIfAbsent: (path, body, id) => {
        hidden.add(path);
        return inner.putIfAbsent(path, body, id);
      },
      list: (prefix, after) =>
        Effect.map(inner.list(prefix, after), (page) => {
          const objects = page.objects.filter(({ path }) => !hidden.has(path));
          hidden.clear();
          return { ...page, objects };
        }),
    };
  }, ["list-after-write"]],
  ["deleted objects are listed on", (inner) => {
    let gone: ObjectMeta[] = [];
    return {
      delete: (path) =>
        Effect.suspend(() => {
          if (exists(inner, path) && path.includes("listed")) gone.push({ path, size: 1, lastModifiedMillis: 0 });
          return inner.delete(path);
        }),
      list: (prefix, after) =>
        Effect.map(inner.list(prefix, after), (page) => {
          const shown = gone.filter(({ path }) => path.startsWith(prefix));
          gone = [];
          return { ...page, objects: [...page.objects, ...shown] };
        }),
    };
  }, ["list-after-write"]],
  ["listings are backwards", (inner) => ({
    list: (prefix, after) =>
      Effect.map(inner.list(prefix, after), (page) => ({ ...page, objects: [...page.objects].reverse() })),
  }), ["list order"]],
  ["listings go on at the name itself", (inner) => ({
    list: (prefix, after) =>
      Effect.map(inner.list(prefix), (page) => ({
        ...page,
        objects: page.objects.filter(({ path }) => after === undefined || path >= after),
      })),
  }), ["list order"]],
  ["listings begin at the beginning", (inner) => ({ list: (prefix) => inner.list(prefix) }), ["list order"]],
  ["listings go by names' beginnings", (inner) => ({
    list: (prefix, after) =>
      Effect.map(inner.list("", after), (page) => ({
        ...page,
        objects: page.objects.filter(({ path }) => path.startsWith(prefix.slice(0, -1))),
      })),
  }), ["list order"]],
  ["listings tell wrong sizes", (inner) => ({
    list: (prefix, after) =>
      Effect.map(inner.list(prefix, after), (page) => ({
        ...page,
        objects: page.objects.map((object) => ({ ...object, size: object.size + 1 })),
      })),
  }), ["list order"]],
  ["listings after a name that is not there begin at the beginning", (inner) => ({
    list: (prefix, after) => inner.list(prefix, after !== undefined && exists(inner, after) ? after : undefined),
  }), ["list order"]],
  ["uploads can be seen early", (inner) => ({
    upload: (path) => {
      let completed = false;
      return Effect.map(inner.upload(path), (upload) => ({
        write: (bytes) => Effect.andThen(inner.put(path, bytes), upload.write(bytes)),
        complete: Effect.tap(upload.complete, () => Effect.sync(() => completed = true)),
        abort: Effect.suspend(() =>
          completed ? Effect.void : Effect.andThen(Effect.orDie(inner.delete(path)), upload.abort)
        ),
      }));
    },
  }), ["upload in parts"]],
  ["uploads lose a part", (inner) => ({
    upload: (path) => {
      let writes = 0;
      return Effect.map(inner.upload(path), (upload) => ({
        ...upload,
        write: (bytes) => ++writes === 3 ? Effect.void : upload.write(bytes),
      }));
    },
  }), ["upload in parts"]],
  ["uploads that are given up stay", (inner) => ({
    upload: (path) =>
      Effect.map(inner.upload(path), (upload) => ({
        ...upload,
        abort: path.includes("aborted") ? Effect.orDie(upload.complete) : upload.abort,
      })),
  }), ["upload given up"]],
  ["the clock is ten minutes ahead", (inner) => ({
    head: (path) =>
      Effect.map(inner.head(path), (meta) => ({ ...meta, lastModifiedMillis: meta.lastModifiedMillis + 600_000 })),
  }), ["clock"]],
  ["the clock is ten minutes behind", (inner) => ({
    head: (path) =>
      Effect.map(inner.head(path), (meta) => ({ ...meta, lastModifiedMillis: meta.lastModifiedMillis - 600_000 })),
  }), ["clock"]],
];

describe("examineStore on a store that breaks a promise", () => {
  for (const [what, lie, rows] of LIES) {
    it(`${what}: ${rows.join(", ")}`, async () => {
      const { store, inner } = lying(lie);
      const report = await examine(store);
      assert.deepEqual(rowsThat(report, "fail"), rows, JSON.stringify(report.rows.filter((r) => r.verdict === "fail")));
      assert.equal(report.fitness, "unfit");
      for (const row of rows) assert.ok(report.verdict.includes(row), report.verdict);
      assert.deepEqual(inner.objects(), [], "everything was deleted");
      assert.deepEqual(report.left, []);
    });
  }

  it("listings of everything lead to no deletion of what belongs to others", async () => {
    const { store, inner } = lying((inner) => ({ list: (_, after) => inner.list("", after) }));
    inner.plant("manifest/00000000000000000001.manifest", new Uint8Array([1]));
    inner.plant("zzz", new Uint8Array([1]));
    const report = await examine(store);
    assert.equal(report.fitness, "unfit");
    assert.deepEqual(inner.objects(), ["manifest/00000000000000000001.manifest", "zzz"]);
    assert.deepEqual(report.left, []);
  });

  it("deletions that do nothing are found, and what stays is named", async () => {
    const { store, inner } = lying(() => ({ delete: () => Effect.void }));
    const report = await examine(store);
    assert.deepEqual(rowsThat(report, "fail"), ["delete", "list-after-write"]);
    assert.deepEqual([...report.left].sort(), [...inner.objects()].sort());
  });

  it("creates that nobody wins are told as that", async () => {
    const report = await examine(lying(() => ({ putIfAbsent: () => Effect.succeed("exists") })).store);
    assert.match(detailOf(report, "create-if-absent race"), /none of 32 concurrent creates of a new name won/);
  });

  it("listings that end after a page are caught where pages are asked for", async () => {
    const lie: Lie = (inner) => ({
      list: (prefix, after) => Effect.map(inner.list(prefix, after), (page) => ({ ...page, truncated: false })),
    });
    assert.equal((await examine(lying(lie).store)).fitness, "fit");
    const report = await examine(lying(lie).store, { ...QUICK, pages: true });
    assert.deepEqual(rowsThat(report, "fail"), ["list pages"]);
  });

  it("the verdict of a store that ignores conditions says what that costs", async () => {
    const { verdict } = await examine(lying(LIES[0]![1]).store);
    assert.match(verdict, /^unfit: .*two writers could both believe that they own the database/);
  });

  it("a store whose operation dies has a row that says so", async () => {
    const report = await examine(lying(() => ({ copy: () => Effect.die(new Error("no such thing")) })).store);
    assert.deepEqual(rowsThat(report, "fail"), ["copy"]);
    assert.match(detailOf(report, "copy"), /could not be examined: no such thing/);
  });
});
