/**
 * The merge operator as users write it, and the one shape the engine calls.
 *
 * @module
 */
import type { MergeOperator } from "../../src/db/api.ts";
import { InvalidArgument } from "../../src/errors.ts";
import { foldMerge, MERGE_BATCH_OPERANDS } from "../../src/lsm/merge_operator.ts";
import { assert, describe, it } from "../support/suite.ts";

const encoder = new TextEncoder();
const bytes = (text: string): Uint8Array => encoder.encode(text);
const text = (value: Uint8Array): string => new TextDecoder().decode(value);
const KEY = bytes("key");

const concat = (_key: Uint8Array, existing: Uint8Array | undefined, operand: Uint8Array): Uint8Array =>
  Uint8Array.from([...existing ?? [], ...operand]);

function reasonOf(run: () => unknown): InvalidArgument {
  try {
    run();
  } catch (error) {
    if (error instanceof InvalidArgument) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

describe("foldMerge", () => {
  it("foldMerge has no fold without an operator or with one elsewhere", () => {
    assert.equal(foldMerge(undefined), undefined);
    assert.equal(foldMerge("elsewhere"), undefined);
  });

  it("foldMerge applies operands oldest first, onto the base or onto nothing", () => {
    for (const operator of [concat, { merge: concat }] satisfies MergeOperator[]) {
      const fold = foldMerge(operator)!;
      assert.equal(text(fold(KEY, bytes("base"), [bytes("-1"), bytes("-2"), bytes("-3")])), "base-1-2-3");
      assert.equal(text(fold(KEY, undefined, [bytes("1"), bytes("2")])), "12");
    }
  });

  it("foldMerge passes the key, and says undefined where there is no base", () => {
    const seen: unknown[] = [];
    foldMerge((key, existing, operand) => {
      seen.push([text(key), existing === undefined ? undefined : text(existing), text(operand)]);
      return bytes("r");
    })!(KEY, undefined, [bytes("1"), bytes("2")]);
    assert.deepEqual(seen, [["key", undefined, "1"], ["key", "r", "2"]]);
  });

  it("foldMerge hands mergeBatch 100 operands at once, each result the base of the next", () => {
    const calls: Array<readonly [string | undefined, number]> = [];
    const fold = foldMerge({
      merge: () => assert.fail("merge was called although there is mergeBatch"),
      mergeBatch: (_key, existing, operands) => {
        calls.push([existing === undefined ? undefined : text(existing), operands.length]);
        return bytes(operands.map(text).join(""));
      },
    })!;
    const operands = Array.from({ length: 2 * MERGE_BATCH_OPERANDS + 1 }, (_, i) => bytes(String(i % 10)));
    assert.equal(text(fold(KEY, undefined, operands)), "0");
    const tens = "0123456789".repeat(10);
    assert.deepEqual(calls, [[undefined, 100], [tens, 100], [tens, 1]]);
  });

  it("foldMerge keeps the operator's own object as this", () => {
    class Counter {
      calls = 0;
      merge(_key: Uint8Array, _existing: Uint8Array | undefined, operand: Uint8Array): Uint8Array {
        this.calls++;
        return operand;
      }
    }
    const counter = new Counter();
    foldMerge(counter)!(KEY, undefined, [bytes("1"), bytes("2")]);
    assert.equal(counter.calls, 2);
  });

  it("foldMerge turns a throw of the operator into InvalidArgument with the cause", () => {
    const cause = new RangeError("too far");
    const operators: MergeOperator[] = [
      () => {
        throw cause;
      },
      {
        merge: concat,
        mergeBatch: () => {
          throw cause;
        },
      },
    ];
    for (const operator of operators) {
      const error = reasonOf(() => foldMerge(operator)!(KEY, undefined, [bytes("1")]));
      assert.equal(error.reason, "merge-operator-failed");
      assert.equal(error.cause, cause);
      assert.match(error.message, /too far/);
    }
  });

  it("foldMerge refuses an answer that is not bytes", () => {
    for (const answer of [undefined, null, "text", 5, new ArrayBuffer(2), Promise.resolve(bytes("x"))]) {
      const error = reasonOf(() => foldMerge(() => answer as unknown as Uint8Array)!(KEY, undefined, [bytes("1")]));
      assert.equal(error.reason, "merge-operator-failed");
    }
  });
});
