/**
 * Conformance: uploads in parts. Nothing is seen before `complete`, everything after it, nothing after `abort`.
 *
 * @module
 */
import { expectBytes, expectEqual, expectRefusal, patternBytes, type StoreCheck, utf8 } from "./check.ts";

/** The checks of this file. */
export const UPLOAD_CHECKS: ReadonlyArray<StoreCheck> = [
  {
    name: "upload appears whole at complete and not before",
    check: async ({ store, run }) => {
      const body = patternBytes(10_000, 1);
      const upload = await run(store.upload("tables/new"));
      for (let at = 0; at < body.length; at += 1_234) {
        await run(upload.write(body.subarray(at, Math.min(at + 1_234, body.length))));
        await expectRefusal(run, store.get("tables/new"), "get during the upload", "not-found");
      }
      expectEqual((await run(store.list(""))).objects.length, 0, "the number of objects listed during the upload");
      await run(upload.complete);
      expectBytes(await run(store.get("tables/new")), body, "the object");
      expectEqual((await run(store.list("tables/"))).objects[0]?.size, body.length, "the size listed");
    },
  },
  {
    name: "upload of 24 MiB in uneven pieces arrives whole",
    check: async ({ store, run }) => {
      const piece = patternBytes(3_000_017, 2);
      const upload = await run(store.upload("large"));
      const parts = 8;
      for (let i = 0; i < parts; i++) await run(upload.write(piece));
      await run(upload.write(utf8("end")));
      await run(upload.complete);
      const size = piece.length * parts + 3;
      expectEqual((await run(store.head("large"))).size, size, "the size");
      for (const i of [0, 1, parts - 1]) {
        const range = { offset: i * piece.length, length: piece.length };
        expectBytes(await run(store.getRange("large", range)), piece, `piece ${i}`);
      }
      expectBytes(await run(store.getRange("large", { offset: size - 3, length: 3 })), utf8("end"), "the end");
    },
  },
  {
    name: "upload without bytes makes an empty object",
    check: async ({ store, run }) => {
      const upload = await run(store.upload("empty"));
      await run(upload.complete);
      expectEqual((await run(store.get("empty"))).length, 0, "the size");
    },
  },
  {
    name: "upload replaces an object of its name",
    check: async ({ store, run }) => {
      await run(store.put("object", patternBytes(100, 3)));
      const upload = await run(store.upload("object"));
      await run(upload.write(utf8("new")));
      await run(upload.complete);
      expectBytes(await run(store.get("object")), utf8("new"), "the object");
    },
  },
  {
    name: "upload that is aborted leaves nothing; abort is safe at any time, and twice",
    check: async ({ store, run }) => {
      await run(store.put("object", utf8("old")));
      for (const pieces of [0, 1, 3]) {
        const upload = await run(store.upload("object"));
        for (let i = 0; i < pieces; i++) await run(upload.write(patternBytes(100_000, i)));
        await run(upload.abort);
        await run(upload.abort);
        await expectRefusal(run, upload.complete, "complete after abort", "not-found", "unavailable", "unsupported");
      }
      expectBytes(await run(store.get("object")), utf8("old"), "the object");
      expectEqual((await run(store.list(""))).objects.length, 1, "the number of objects listed");
    },
  },
  {
    name: "two uploads of different names do not mix",
    check: async ({ store, run }) => {
      const one = await run(store.upload("one"));
      const two = await run(store.upload("two"));
      for (let i = 0; i < 5; i++) {
        await run(one.write(utf8(`a${i}`)));
        await run(two.write(utf8(`b${i}`)));
      }
      await run(two.complete);
      await run(one.complete);
      expectBytes(await run(store.get("one")), utf8("a0a1a2a3a4"), "one");
      expectBytes(await run(store.get("two")), utf8("b0b1b2b3b4"), "two");
    },
  },
];
