/**
 * Conformance: single objects. Whole reads, ranges, head, put, conditional create, delete, copy, names.
 *
 * @module
 */
import { Effect } from "effect";
import type { StoreError } from "../../errors.ts";
import {
  type CheckContext,
  expect,
  expectBytes,
  expectEqual,
  expectRefusal,
  patternBytes,
  type StoreCheck,
  utf8,
} from "./check.ts";

async function roundTrip({ store, run }: CheckContext, size: number): Promise<void> {
  const body = patternBytes(size, size);
  await run(store.put("folder/object", body));
  expectBytes(await run(store.get("folder/object")), body, `an object of ${size} bytes`);
  expectEqual((await run(store.head("folder/object"))).size, size, "the size");
}

const READ_CHECKS: ReadonlyArray<StoreCheck> = [
  {
    name: "get answers what put stored, from empty to a mebibyte",
    check: async (context) => {
      for (const size of [0, 1, 2, 4095, 4096, 4097, 1 << 20]) await roundTrip(context, size);
    },
  },
  {
    name: "get, head and ranges of a missing object are not-found, which is no reason to retry",
    check: async ({ store, run }) => {
      const range = { offset: 0, length: 1 };
      await run(store.put("a/b/c", utf8("x")));
      for (const path of ["missing", "a/missing", "a/b/c2", "none/at/all"]) {
        const errors = [
          await expectRefusal(run, store.get(path), `get of ${path}`, "not-found"),
          await expectRefusal(run, store.head(path), `head of ${path}`, "not-found"),
          await expectRefusal(run, store.getRange(path, range), `getRange of ${path}`, "not-found"),
          await expectRefusal(run, store.getRanges(path, [range]), `getRanges of ${path}`, "not-found"),
        ];
        for (const error of errors) {
          expect(!error.retryable && error.outcome === "none", `${error.op} calls not-found a passing trouble`);
          expectEqual(error.path, path, "the path of the error");
        }
      }
    },
  },
  {
    name: "get of a folder, or of a name below an object, is not-found",
    check: async ({ store, run }) => {
      await run(store.put("folder/object", utf8("x")));
      for (const path of ["folder", "folder/object/below"]) {
        await expectRefusal(run, store.get(path), `get of ${path}`, "not-found");
        await expectRefusal(run, store.head(path), `head of ${path}`, "not-found");
      }
    },
  },
  {
    name: "getRange answers exactly the range: first, middle, last byte, whole",
    check: async ({ store, run }) => {
      const body = patternBytes(10_000, 1);
      await run(store.put("object", body));
      for (
        const [offset, length] of [[0, 1], [0, 10_000], [9_999, 1], [1, 9_998], [4_095, 2], [5_000, 5_000]] as const
      ) {
        const part = await run(store.getRange("object", { offset, length }));
        expectBytes(part, body.subarray(offset, offset + length), `the range ${offset}+${length}`);
      }
    },
  },
  {
    name: "getRange past the end is a short read, never fewer bytes",
    check: async ({ store, run }) => {
      await run(store.put("object", patternBytes(100, 2)));
      await run(store.put("empty", new Uint8Array(0)));
      for (
        const [path, offset, length] of [["object", 99, 2], ["object", 100, 1], ["object", 5_000, 7], [
          "empty",
          0,
          1,
        ]] as const
      ) {
        const what = `${offset}+${length} of ${path}`;
        await expectRefusal(run, store.getRange(path, { offset, length }), what, "short-read");
        await expectRefusal(run, store.getRanges(path, [{ offset, length }]), what, "short-read");
      }
    },
  },
  {
    name: "getRanges answers in the order asked, also when ranges overlap or repeat",
    check: async ({ store, run }) => {
      const body = patternBytes(5_000, 3);
      await run(store.put("object", body));
      const ranges = [[4_000, 1_000], [0, 10], [5, 10], [0, 10], [4_999, 1]].map(([offset, length]) => ({
        offset: offset!,
        length: length!,
      }));
      const parts = await run(store.getRanges("object", ranges));
      expectEqual(parts.length, ranges.length, "the number of parts");
      ranges.forEach(({ offset, length }, i) => {
        expectBytes(parts[i]!, body.subarray(offset, offset + length), `part ${i}`);
      });
      expectEqual((await run(store.getRanges("object", []))).length, 0, "the number of parts of nothing");
    },
  },
  {
    name: "head answers name, size and a time",
    check: async ({ store, run }) => {
      await run(store.put("folder/object", patternBytes(123, 4)));
      const meta = await run(store.head("folder/object"));
      expectEqual(meta.path, "folder/object", "the name");
      expectEqual(meta.size, 123, "the size");
      expect(Number.isFinite(meta.lastModifiedMillis), "the time is not a number");
    },
  },
];

const WRITE_CHECKS: ReadonlyArray<StoreCheck> = [
  {
    name: "put replaces, and the next get, head and list see it",
    check: async ({ store, run }) => {
      for (let i = 0; i < 20; i++) {
        const body = patternBytes(i * 7, i);
        await run(store.put("folder/object", body));
        expectBytes(await run(store.get("folder/object")), body, `version ${i}`);
        expectEqual((await run(store.head("folder/object"))).size, body.length, "the size by head");
        const page = await run(store.list("folder/"));
        expectEqual(page.objects.length, 1, "the number of objects listed");
        expectEqual(page.objects[0]?.size, body.length, "the size listed");
      }
    },
  },
  {
    name: "putIfAbsent creates once; afterwards it answers exists and changes nothing",
    check: async ({ store, run }) => {
      const first = utf8("first");
      expectEqual(await run(store.putIfAbsent("folder/object", first)), "created", "the first answer");
      expectEqual(await run(store.putIfAbsent("folder/object", utf8("second"))), "exists", "the second answer");
      const identity = { putId: "another", uniqueBody: true };
      expectEqual(await run(store.putIfAbsent("folder/object", first, identity)), "exists", "the third answer");
      expectBytes(await run(store.get("folder/object")), first, "the object");
      await run(store.put("other", first));
      expectEqual(await run(store.putIfAbsent("other", utf8("x"))), "exists", "the answer after a put");
    },
  },
  {
    name: "putIfAbsent of one name by 32 at once: exactly one creates, and its bytes stay",
    check: async ({ store, run }) => {
      const bodies = Array.from({ length: 32 }, (_, i) => patternBytes(1_000 + i, i));
      const answers = await run(Effect.forEach(bodies, (body) => store.putIfAbsent("race/object", body), {
        concurrency: "unbounded",
      }));
      const winners = answers.flatMap((answer, i) => answer === "created" ? [i] : []);
      expectEqual(winners.length, 1, "the number of winners");
      expectEqual(answers.filter((answer) => answer === "exists").length, 31, "the number of losers");
      expectBytes(await run(store.get("race/object")), bodies[winners[0]!]!, "the object");
      expectEqual((await run(store.list("race/"))).objects.length, 1, "the number of objects listed");
    },
  },
  {
    name: "a put-id that head answers is the one the object was created with",
    check: async ({ store, run }) => {
      await run(store.putIfAbsent("object", utf8("x"), { putId: "id-1" }));
      await run(store.putIfAbsent("object", utf8("x"), { putId: "id-2" }));
      const { putId } = await run(store.head("object"));
      expect(putId === undefined || putId === "id-1", `the put-id is ${putId}`);
      await run(store.put("object", utf8("x")));
      expectEqual((await run(store.head("object"))).putId, undefined, "the put-id after a put");
    },
  },
  {
    name: "delete removes, deleting again succeeds, and the name may be created anew",
    check: async ({ store, run }) => {
      await run(store.put("folder/object", utf8("x")));
      await run(store.put("folder/object2", utf8("y")));
      for (let i = 0; i < 2; i++) await run(store.delete("folder/object"));
      await run(store.delete("never/was"));
      await run(store.delete("folder"));
      await run(store.delete("folder/object2/below"));
      await expectRefusal(run, store.get("folder/object"), "get after delete", "not-found");
      expectBytes(await run(store.get("folder/object2")), utf8("y"), "the neighbour");
      expectEqual((await run(store.list(""))).objects.length, 1, "the number of objects listed");
      expectEqual(await run(store.putIfAbsent("folder/object", utf8("z"))), "created", "the answer after delete");
    },
  },
  {
    name: "copy copies, replaces its target and needs its source",
    check: async ({ store, run }) => {
      const body = patternBytes(70_000, 5);
      await run(store.put("source", body));
      await run(store.copy("source", "copies/target"));
      expectBytes(await run(store.get("copies/target")), body, "the copy");
      await run(store.put("source", utf8("new")));
      expectBytes(await run(store.get("copies/target")), body, "the copy after the source changed");
      await run(store.copy("source", "copies/target"));
      expectBytes(await run(store.get("copies/target")), utf8("new"), "the replaced target");
      await run(store.copy("source", "source"));
      expectBytes(await run(store.get("source")), utf8("new"), "the object copied onto itself");
      await expectRefusal(run, store.copy("missing", "target2"), "copy of nothing", "not-found");
      await expectRefusal(run, store.get("target2"), "the target of a failed copy", "not-found");
    },
  },
  {
    name: "bodies are not shared: changing what was put or got changes no object",
    check: async ({ store, run }) => {
      const body = patternBytes(64, 6);
      const expected = Uint8Array.from(body);
      // A view into a larger buffer, as the engine often passes.
      const view = new Uint8Array(200).subarray(50, 114);
      view.set(body);
      await run(store.put("put", view));
      await run(store.putIfAbsent("created", view));
      const upload = await run(store.upload("uploaded"));
      await run(upload.write(view));
      view.fill(0);
      await run(upload.complete);
      for (const path of ["put", "created", "uploaded"]) {
        (await run(store.get(path))).fill(1);
        (await run(store.getRange(path, { offset: 0, length: 64 }))).fill(2);
        for (const part of await run(store.getRanges(path, [{ offset: 0, length: 64 }]))) part.fill(3);
        expectBytes(await run(store.get(path)), expected, path);
      }
    },
  },
];

/** Names that no store may accept. */
const BAD_NAMES = [
  "",
  "/absolute",
  "a//b",
  "a/",
  ".",
  "..",
  "../up",
  "a/../b",
  "a/./b",
  "a\\b",
  "a\0b",
  "a%2fb",
  "C:/x",
];

const NAME_CHECKS: ReadonlyArray<StoreCheck> = [
  {
    name: "names that could mean another place are refused by every operation",
    check: async ({ store, run }) => {
      const body = utf8("x");
      await run(store.put("good", body));
      for (const name of BAD_NAMES) {
        const calls: ReadonlyArray<readonly [string, Effect.Effect<unknown, StoreError>]> = [
          ["get", store.get(name)],
          ["getRange", store.getRange(name, { offset: 0, length: 1 })],
          ["getRanges", store.getRanges(name, [{ offset: 0, length: 1 }])],
          ["head", store.head(name)],
          ["put", store.put(name, body)],
          ["putIfAbsent", store.putIfAbsent(name, body)],
          ["delete", store.delete(name)],
          ["copy from", store.copy(name, "target")],
          ["copy to", store.copy("good", name)],
          ["upload", store.upload(name)],
        ];
        for (const [op, call] of calls) {
          const error = await expectRefusal(run, call, `${op} of ${JSON.stringify(name)}`, "invalid-path");
          expect(!error.retryable && error.outcome === "none", "a wrong name is called a passing trouble");
        }
      }
      expectEqual((await run(store.list(""))).objects.length, 1, "the number of objects afterwards");
    },
  },
  {
    name: "names of the engine's kind and foreign ones live side by side",
    check: async ({ store, run }) => {
      const names = [
        "manifest/00000000000000000001.manifest",
        "compacted/01K3ZZZZZZZZZZZZZZZZZZZZZZ.sst",
        "wal/readme.txt",
        "a b/c d.e",
        "d\u00e9j\u00e0/\u65e5\u672c/\u{1f600}",
        "deep/" + "x/".repeat(20) + "end",
        "n".repeat(200),
      ];
      for (const name of names) await run(store.put(name, utf8(name)));
      for (const name of names) expectBytes(await run(store.get(name)), utf8(name), name);
      const listed = (await run(store.list(""))).objects.map((object) => object.path);
      expectEqual(listed.length, names.length, "the number of objects listed");
      for (const name of names) expect(listed.includes(name), `${name} is not listed`);
    },
  },
];

/** The checks of this file. */
export const OBJECT_CHECKS: ReadonlyArray<StoreCheck> = [...READ_CHECKS, ...WRITE_CHECKS, ...NAME_CHECKS];
