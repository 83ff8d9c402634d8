/**
 * A database with its log in a store of its own: on another server, where there is one, and under another prefix.
 *
 * @module
 */
import { Effect } from "effect";
import { changes, collectGarbage, open, openReader } from "../../mod.ts";
import type { Reads } from "../../src/db/api.ts";
import { Closed, InvalidArgument } from "../../src/errors.ts";
import type { S3Store } from "../../src/s3.ts";
import { listAll } from "../../src/store/list_all.ts";
import { assert, it } from "../support/suite.ts";
import { describeOnServers, onS3, s3Places } from "./places.ts";
import { storeBelow } from "../../src/store/store_below.ts";

const SMALL = { l0SstSizeBytes: 4000, blockSizeBytes: 1024, minFilterKeys: 1, garbageCollector: false } as const;
const EVERYTHING = { minAgeMillis: 0, walFenceMinAgeMillis: 0, allowUnsafeAge: true } as const;

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

async function rowsOf(reads: Reads): Promise<string[]> {
  return (await reads.scan().toArray()).map(({ key, value }) => `${text(key)}=${text(value)}`);
}

async function countBelow(store: S3Store, prefix: string): Promise<number> {
  let count = 0;
  await Effect.runPromise(listAll(store, prefix, undefined, () => void count++));
  return count;
}

function isRefused(error: unknown): boolean {
  return error instanceof InvalidArgument && /separate store|store of its own/.test(error.message);
}

describeOnServers("a log of its own", (place) => {
  for (const other of s3Places()) {
    it(`tables on ${place.kind}, log on ${other.kind}: written, read, reopened, collected, and refused when forgotten`, () =>
      onS3(place, (store, root) =>
        onS3(other, async (logStore, logRoot) => {
          const wal = { store: storeBelow(logStore, logRoot) };
          const at = { store, path: root };
          const wanted: string[] = [];
          const first = await open(at, { ...SMALL, wal });
          for (let n = 100; n < 160; n++) {
            await first.put(`a${n}`, "v".repeat(n));
            wanted.push(`a${n}=${"v".repeat(n)}`);
          }
          await first.flush({ kind: "memtable" });
          await first.put("in the log", "only");
          wanted.push("in the log=only");
          assert.equal(await countBelow(store, `${root}/wal/`), 0, "the log is in the main store");
          assert.ok(await countBelow(logStore, `${logRoot}/${root}/wal/`) >= 61);

          const reader = await openReader(at, { wal, mode: "follow" });
          assert.deepEqual(await rowsOf(reader), wanted);
          await reader.close();
          const followed: string[] = [];
          for await (const change of changes(at, { wal, follow: false, fromSeq: 60 })) {
            followed.push(change.kind === "deleteRange" ? "a range" : text(change.key));
          }
          assert.deepEqual(followed, ["a159", "in the log"]);

          for (
            const forgotten of [
              () => open(at, SMALL),
              () => openReader(at),
              () => collectGarbage(at, EVERYTHING),
            ]
          ) await assert.rejects(forgotten(), isRefused);
          assert.deepEqual(await rowsOf(first), wanted, "a refused opening has done no harm");
          await first.put("still", "open");
          wanted.push("still=open");

          // A second writer, as after a crash: it finds the log where it is, and fences the first.
          const second = await open(at, { ...SMALL, wal });
          assert.deepEqual(await rowsOf(second), wanted);
          await assert.rejects(
            first.put("late", "1"),
            (error) => error instanceof Closed && error.reason === "fenced",
          );
          const before = await countBelow(logStore, `${logRoot}/${root}/wal/`);
          await second.put("b", "1");
          await second.flush({ kind: "memtable" });
          const report = await collectGarbage(at, { ...EVERYTHING, wal });
          assert.equal(report.stopped, undefined);
          assert.ok(await countBelow(logStore, `${logRoot}/${root}/wal/`) < before, "nothing of the log was collected");
          await second.close();
          const third = await open(at, { ...SMALL, wal });
          assert.deepEqual(await rowsOf(third), [...wanted, "b=1"].sort());
          await third.close();
        })));
  }
});
