/** What crosses over between the compactor and its threads. */
import { Effect } from "effect";
import { DataError, StoreError } from "../../src/errors.ts";
import type { SstView } from "../../src/format/types.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import { metered, StoreMeter } from "../../src/store/metered_store.ts";
import { errorOf, faultOf, mergePlanOf } from "../../tasks/compaction_thread_messages.ts";
import { assert, describe, it } from "../support/suite.ts";
import { EMPTY_PLAN } from "./compaction_tables.ts";

describe("what crosses over to a thread", () => {
  it("keeps numbers, absences and keys, and takes no buffer along", () => {
    const buffer = new TextEncoder().encode("a long buffer in which keys lie");
    const view: SstView = {
      viewId: "v",
      sstId: "s",
      formatVersion: 2,
      visibleRange: {
        start: { key: buffer.subarray(2, 6), inclusive: true },
        end: { key: undefined, inclusive: false },
      },
      info: {
        firstEntry: buffer.subarray(2, 6),
        lastEntry: undefined,
        indexOffset: 1,
        indexLen: 2,
        filterOffset: 3,
        filterLen: 4,
        compression: 3,
        sstType: 0,
        statsOffset: 5,
        statsLen: 6,
        filterFormat: 0,
        rangeDeletes: { offset: 11, length: 12, count: 1, end: buffer.subarray(2, 7) },
      },
    };
    const merge = { kind: "merge", sources: [[view]], bytes: 7 } as const;
    const olderSpans = [{ first: buffer.subarray(1, 2), end: buffer.subarray(3, 6), endInclusive: true }];
    const plan = mergePlanOf({ ...EMPTY_PLAN, olderSpans, segments: [{ kind: "move", view }, merge] });
    const arrived = structuredClone(plan);
    assert.deepEqual(arrived, { segments: [merge], isLastRun: true, olderSpans, minSeq: 0, tick: -Infinity });
    const [span] = arrived.olderSpans;
    assert.deepEqual([span!.first.buffer.byteLength, span!.end!.buffer.byteLength], [1, 3]);
    const segment = arrived.segments[0]!;
    assert.ok(segment.kind === "merge");
    const { firstEntry, rangeDeletes } = segment.sources[0]![0]!.info;
    assert.deepEqual([firstEntry!.buffer.byteLength, rangeDeletes!.end!.buffer.byteLength], [4, 5]);
    assert.ok("lastEntry" in segment.sources[0]![0]!.info);
  });

  it("keeps errors what they are", () => {
    const errors = [
      new StoreError({
        op: "get",
        path: "p",
        reason: "timeout",
        retryable: true,
        outcome: "none",
        detail: "d",
        cause: () => 1,
      }),
      new DataError({ object: "o", section: "index", offset: 3, reason: "checksum", detail: "d", cause: () => 1 }),
      new DataError({ object: "o", section: "object", offset: 0, reason: "missing-object" }),
      new TypeError("a mistake"),
    ];
    for (const error of errors) {
      const arrived = errorOf(structuredClone(faultOf(error)));
      assert.equal(arrived.message, error.message);
      assert.equal(arrived.constructor, error instanceof TypeError ? Error : error.constructor);
    }
  });

  it("StoreMeter.add counts what another meter counted since its last report", async () => {
    const [other, own] = [new StoreMeter(), new StoreMeter()];
    const kinds: string[] = [];
    own.onKind = (component, kind) => kinds.push(`${component} ${kind}`);
    const store = metered(memoryStore(), { component: "compactor", meter: other });
    await Effect.runPromise(store.put("a", new Uint8Array(5)));
    const first = other.report();
    own.add(first);
    await Effect.runPromise(store.get("a"));
    await Effect.runPromise(store.put("b", new Uint8Array(3)));
    own.add(other.report(), first);
    assert.deepEqual(own.report(), other.report());
    assert.deepEqual(kinds, ["compactor put", "compactor get"]);
  });
});
