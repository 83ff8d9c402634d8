/**
 * The checker of list-append histories: that it sees each anomaly, and none where there is none.
 *
 * @module
 */
import { findAnomalies, type Level, type ListStep, type ListTransaction } from "./list_append.ts";
import { assert, describe, it } from "./suite.ts";

const append = (key: string, element: number): ListStep => ({ kind: "append", key, element });
const read = (key: string, ...list: number[]): ListStep => ({ kind: "read", key, list });
/** A transaction that overlaps all others unless told otherwise. */
const tx = (id: number, steps: ListStep[], more: Partial<ListTransaction> = {}): ListTransaction => ({
  id,
  steps,
  outcome: "committed",
  begun: id / 1000,
  ended: 100 + id,
  ...more,
});
/** Somebody who reads everything in the end. */
const last = (...steps: ListStep[]) => tx(99, steps, { begun: 200, ended: 201 });

describe("list-append checker", () => {
  const cases: ReadonlyArray<{
    readonly what: string;
    readonly history: readonly ListTransaction[];
    readonly snapshot: RegExp | undefined;
    readonly serializable: RegExp | undefined;
  }> = [
    {
      what: "a serial history",
      history: [
        tx(1, [read("x"), append("x", 1)]),
        tx(2, [read("x", 1), append("x", 2), read("x", 1, 2)]),
        last(read("x", 1, 2)),
      ],
      snapshot: undefined,
      serializable: undefined,
    },
    {
      what: "an aborted transaction nobody saw",
      history: [tx(1, [append("x", 1)], { outcome: "aborted" }), last(read("x"))],
      snapshot: undefined,
      serializable: undefined,
    },
    {
      what: "write skew (G2)",
      history: [
        tx(1, [read("x"), read("y"), append("x", 1)]),
        tx(2, [read("x"), read("y"), append("y", 2)]),
        last(read("x", 1), read("y", 2)),
      ],
      snapshot: undefined,
      serializable: /^G2 .*rw.*rw/,
    },
    {
      what: "a lost update",
      history: [tx(1, [read("x"), append("x", 1)]), tx(2, [read("x"), append("x", 2)]), last(read("x", 1, 2))],
      snapshot: /^G-nonadjacent/,
      serializable: /^G-nonadjacent/,
    },
    {
      what: "read skew (G-single)",
      history: [
        tx(1, [append("x", 1), append("y", 2)]),
        tx(2, [read("x", 1), read("y")]),
        last(read("x", 1), read("y", 2)),
      ],
      snapshot: /^G-nonadjacent/,
      serializable: /^G-nonadjacent/,
    },
    {
      what: "circular information flow (G1c)",
      history: [
        tx(1, [append("x", 1), read("y", 2)]),
        tx(2, [append("y", 2), read("x", 1)]),
        last(read("x", 1), read("y", 2)),
      ],
      snapshot: /^G1c .*wr.*wr/,
      serializable: /^G1c/,
    },
    {
      what: "interleaved writes (G0)",
      history: [
        tx(1, [append("x", 1), append("y", 2)]),
        tx(2, [append("x", 3), append("y", 4)]),
        last(read("x", 1, 3), read("y", 4, 2)),
      ],
      snapshot: /^G1c .*ww.*ww/,
      serializable: /^G1c/,
    },
    {
      what: "a read of the past after the writer's answer",
      history: [
        tx(1, [append("x", 1)], { begun: 1, ended: 2 }),
        tx(2, [read("x")], { begun: 3, ended: 4 }),
        last(read("x", 1)),
      ],
      snapshot: /^lost.*\nG-nonadjacent/,
      serializable: /^lost.*\nG-nonadjacent/,
    },
    {
      what: "a committed append that is gone",
      history: [tx(1, [append("x", 1)]), last(read("x"))],
      snapshot: /^lost: 99 does not find 1 of 1 in x$/,
      serializable: /^lost/,
    },
    {
      what: "an aborted read (G1a)",
      history: [tx(1, [append("x", 1)], { outcome: "aborted" }), last(read("x", 1))],
      snapshot: /^G1a/,
      serializable: /^G1a/,
    },
    {
      what: "an intermediate read (G1b)",
      history: [tx(1, [append("x", 1), append("x", 2)]), tx(2, [read("x", 1)]), last(read("x", 1, 2))],
      snapshot: /^G1b/,
      serializable: /^G1b/,
    },
    {
      what: "a doubled element",
      history: [tx(1, [append("x", 1)]), last(read("x", 1, 1))],
      snapshot: /^duplicate/,
      serializable: /^dup/,
    },
    { what: "an element of nobody", history: [last(read("x", 7))], snapshot: /^garbage/, serializable: /^garbage/ },
    {
      what: "lists that contradict each other",
      history: [tx(1, [append("x", 1)]), tx(2, [append("x", 2)]), tx(3, [read("x", 2)]), last(read("x", 1, 2))],
      snapshot: /incompatible/,
      serializable: /incompatible/,
    },
    {
      what: "own appends that are not seen",
      history: [tx(1, [append("x", 1), read("x")]), last(read("x", 1))],
      snapshot: /^internal/,
      serializable: /^internal/,
    },
    {
      what: "two reads that differ",
      history: [tx(1, [append("x", 1)]), tx(2, [read("x"), read("x", 1)]), last(read("x", 1))],
      snapshot: /^fuzzy/,
      serializable: /^fuzzy/,
    },
  ];
  for (const { what, history, ...expected } of cases) {
    it(`findAnomalies on ${what}`, () => {
      for (const level of ["snapshot", "serializable"] as const satisfies readonly Level[]) {
        const found = findAnomalies(history, level);
        if (expected[level] === undefined) assert.deepEqual(found, [], level);
        else assert.match(found.join("\n"), expected[level]);
      }
    });
  }

  it("findAnomalies refuses a history whose elements are not unique", () => {
    assert.throws(
      () => findAnomalies([tx(1, [append("x", 1)]), tx(2, [append("x", 1)])], "snapshot"),
      /proves nothing/,
    );
  });
});
