import fc from "fast-check";
import { type Conflict, ConflictHistory, type Footprint, type Watch } from "../../src/state/conflicts.ts";
import {
  type KeySpan,
  keyText,
  spanContains,
  SpanSet,
  spansOverlap,
  textBytes,
  textSuccessor,
} from "../../src/state/key_spans.ts";
import { assert, describe, it } from "../support/suite.ts";

/** What a batch wrote. */
const wrote = (keys: readonly string[], ranges: readonly KeySpan[] = []): Footprint => ({
  forEachKey: (visit) => keys.forEach((key) => visit(textBytes(`.${key}.`), 1, key.length + 1)),
  forEachRange: (visit) => ranges.forEach(visit),
});
const span = (lower: string, upper?: string): KeySpan => ({ lower, upper });
const put = (history: ConflictHistory, seq: number, key: string) =>
  history.recordKey(seq, textBytes(key), 0, key.length);

describe("key text", () => {
  it("keyText and textBytes are inverse for every byte and for long keys", () => {
    const bytes = Uint8Array.from({ length: 70_000 }, (_, i) => i % 256);
    assert.deepEqual(textBytes(keyText(bytes)), bytes);
    assert.equal(keyText(bytes, 65, 68), "ABC");
    assert.ok(keyText(Uint8Array.of(0x7f)) < keyText(Uint8Array.of(0x80)), "ordered as bytes are");
    assert.ok("a" < textSuccessor("a") && textSuccessor("a") < "a\u0001");
  });
});

const letters = fc.string({ unit: fc.constantFrom("\0", "a", "b", "ÿ"), maxLength: 3 });
const spans = fc.record({ lower: letters, upper: fc.option(letters, { nil: undefined }) });

describe("span set", () => {
  it("holding and meeting agree with asking each span", () => {
    fc.assert(
      fc.property(fc.array(spans, { maxLength: 8 }), letters, spans, (list, key, other) => {
        const set = new SpanSet(list);
        const real = list.filter(({ lower, upper }) => upper === undefined || lower < upper);
        assert.equal(set.isEmpty, real.length === 0);
        const holding = set.holding(key);
        assert.equal(holding !== undefined, real.some((one) => spanContains(one, key)));
        if (holding !== undefined) assert.ok(spanContains(holding, key));
        if (other.upper !== undefined && other.lower >= other.upper) return;
        assert.equal(set.meeting(other) !== undefined, real.some((one) => spansOverlap(one, other)));
      }),
      { seed: 1, numRuns: 2000 },
    );
  });
});

describe("conflict history", () => {
  it("records nothing while nobody watches", () => {
    const history = new ConflictHistory(10_000);
    put(history, 1, "a");
    history.recordWrites(2, wrote(["b"], [span("a", "c")]));
    assert.equal(history.bytes, 0);
    assert.equal(history.isActive, false);
    assert.equal(history.check(history.watch(2), { keys: ["a", "b"] }), undefined);
  });

  it("X1 finds a key that others wrote, whatever it was to the transaction, and names it", () => {
    const history = new ConflictHistory(10_000);
    const watch = history.watch(4);
    put(history, 5, "a");
    put(history, 6, "c");
    const check = (claim: Parameters<ConflictHistory["check"]>[1]) => history.check(watch, claim);
    assert.deepEqual(check({ writes: wrote(["x", "c", "a"]) }), { reason: "write", key: "c", seq: 6 });
    assert.deepEqual(check({ keys: ["b", "a"] }), { reason: "read", key: "a", seq: 5 });
    assert.deepEqual(check({ spans: [span("b", "d")] }), { reason: "range", key: "c", range: span("b", "d"), seq: 6 });
    assert.equal(check({ writes: wrote(["b"]), keys: ["b"], spans: [span("a\0", "c"), span("c\0")] }), undefined);
    assert.deepEqual(check({ spans: [span("")] })?.key, "a", "the oldest write comes first");
  });

  it("X1 matches ranges that were deleted with keys and ranges of both sides", () => {
    const history = new ConflictHistory(10_000);
    const watch = history.watch(1);
    history.recordWrites(2, wrote([], [span("b", "d")]));
    put(history, 3, "x");
    const check = (claim: Parameters<ConflictHistory["check"]>[1]) => history.check(watch, claim);
    assert.deepEqual(check({ writes: wrote(["c"]) }), { reason: "write", key: "c", range: span("b", "d"), seq: 2 });
    assert.deepEqual(check({ keys: ["b"] }), { reason: "read", key: "b", range: span("b", "d"), seq: 2 });
    assert.deepEqual(check({ writes: wrote([], [span("c")]) })?.key, "x");
    assert.deepEqual(check({ writes: wrote([], [span("c", "e")]) }), {
      reason: "write",
      range: span("c", "e"),
      seq: 2,
    });
    assert.deepEqual(check({ spans: [span("", "b\0")] }), { reason: "range", range: span("", "b\0"), seq: 2 });
    assert.equal(check({ writes: wrote(["a", "d"], [span("", "b"), span("d", "x")]), keys: ["d"] }), undefined);
  });

  it("leaves exempt keys out on both sides", () => {
    const history = new ConflictHistory(10_000);
    const watch = history.watch(1);
    history.recordWrites(2, wrote(["a", "b"]), new Set(["a"]));
    assert.equal(history.check(watch, { keys: ["a"] }), undefined);
    assert.equal(history.check(watch, { writes: wrote(["b"]), exempt: new Set(["b"]) }), undefined);
    assert.equal(history.check(watch, { writes: wrote(["b"]) })?.key, "b");
  });

  it("drops what is not newer than the oldest open watch, and everything with the last one", () => {
    const history = new ConflictHistory(1_000_000);
    const old = history.watch(0);
    for (let seq = 1; seq <= 3000; seq++) put(history, seq, `k${seq % 10}`);
    const young = history.watch(3000);
    const full = history.bytes;
    history.recordWrites(3001, wrote(["k1"], [span("p", "q")]));
    history.end(old);
    history.end(old);
    assert.ok(history.bytes < full / 100, `${history.bytes} of ${full}`);
    assert.equal(history.check(young, { keys: ["k1"] })?.seq, 3001);
    assert.equal(history.check(young, { keys: ["k2"] }), undefined);
    history.end(young);
    assert.deepEqual([history.bytes, history.isActive], [0, false]);
  });

  it("X2 past the bound the oldest watches lose their history, and say so instead of missing a conflict", () => {
    const history = new ConflictHistory(1000);
    const old = history.watch(0);
    put(history, 1, "a");
    const young = history.watch(1);
    for (let seq = 2; !old.isLost; seq++) {
      put(history, seq, "b");
      assert.ok(history.bytes <= 1000);
    }
    assert.equal(young.isLost, false, "the younger one still knows everything");
    assert.equal(history.check(young, { keys: ["b"] })?.reason, "read");
    assert.deepEqual(history.check(old, { keys: ["zz"] }), { reason: "history-lost" });
    assert.deepEqual(history.check(old, { writes: wrote(["zz"]) }), { reason: "history-lost" });
    assert.equal(history.check(old, { writes: wrote(["zz"]), exempt: new Set(["zz"]) }), undefined, "claims nothing");
    assert.equal(history.check(old, {}), undefined);
    history.recordWrites(100, wrote(["x".repeat(5000), "y"], [span("z".repeat(2000))]));
    assert.deepEqual([young.isLost, history.isActive, history.bytes], [true, false, 0]);
  });

  it("X1 X2 agrees with a model that remembers everything", () => {
    const action = fc.oneof(
      {
        weight: 5,
        arbitrary: fc.record({
          do: fc.constant("put" as const),
          keys: fc.array(letters, { minLength: 1, maxLength: 3 }),
        }),
      },
      { weight: 1, arbitrary: fc.record({ do: fc.constant("deleteRange" as const), range: spans }) },
      { weight: 3, arbitrary: fc.record({ do: fc.constant("watch" as const) }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constant("end" as const), which: fc.nat(9) }) },
      {
        weight: 5,
        arbitrary: fc.record({
          do: fc.constant("check" as const),
          which: fc.nat(9),
          writes: fc.array(letters, { maxLength: 2 }),
          deletes: fc.array(spans, { maxLength: 1 }),
          keys: fc.array(letters, { maxLength: 2 }),
          spans: fc.array(spans, { maxLength: 2 }),
        }),
      },
    );
    let lost = 0;
    let conflicts = 0;
    fc.assert(
      fc.property(
        fc.array(action, { minLength: 20, maxLength: 80, size: "max" }),
        fc.constantFrom(700, 100_000),
        (actions, maxBytes) => {
          const history = new ConflictHistory(maxBytes);
          const log: Array<{ seq: number; key?: string; range?: KeySpan }> = [];
          const open: Watch[] = [];
          let seq = 0;
          for (const step of actions) {
            if (step.do === "put") {
              seq++;
              history.recordWrites(seq, wrote(step.keys));
              for (const key of step.keys) log.push({ seq, key });
            } else if (step.do === "deleteRange") {
              if (step.range.upper !== undefined && step.range.lower >= step.range.upper) continue;
              seq++;
              history.recordWrites(seq, wrote([], [step.range]));
              log.push({ seq, range: step.range });
            } else if (step.do === "watch") {
              open.push(history.watch(seq));
            } else if (open.length > 0) {
              const watch = open[step.which % open.length]!;
              if (step.do === "end") {
                history.end(watch);
                open.splice(open.indexOf(watch), 1);
                continue;
              }
              const deletes = step.deletes.filter(({ lower, upper }) => upper === undefined || lower < upper);
              const looked = step.spans.filter(({ lower, upper }) => upper === undefined || lower < upper);
              const claimed = [...step.writes, ...step.keys].length + deletes.length + looked.length > 0;
              const found = history.check(watch, {
                writes: wrote(step.writes, deletes),
                keys: step.keys,
                spans: looked,
              });
              if (watch.isLost) {
                lost++;
                assert.deepEqual(found, claimed ? { reason: "history-lost" } : undefined);
                continue;
              }
              const after = log.filter((entry) => entry.seq > watch.startedSeq);
              const points = [...step.writes, ...step.keys];
              const areas = [...deletes, ...looked];
              const expected = after.some(({ key, range }) =>
                key !== undefined
                  ? points.includes(key) || areas.some((area) => spanContains(area, key))
                  : points.some((point) => spanContains(range!, point)) ||
                    areas.some((area) => spansOverlap(area, range!))
              );
              assert.equal(found !== undefined, expected);
              if (found !== undefined) {
                conflicts++;
                assertNamed(found, after);
              }
            }
            assert.ok(history.bytes <= maxBytes);
          }
          for (const watch of open) history.end(watch);
          assert.equal(history.bytes, 0);
        },
      ),
      { seed: 7, numRuns: 600 },
    );
    assert.ok(lost > 50 && conflicts > 500, `${lost} lost, ${conflicts} conflicts`);
  });
});

/** What a conflict names was really written by the write that it names. */
function assertNamed(found: Conflict, log: ReadonlyArray<{ seq: number; key?: string; range?: KeySpan }>): void {
  const named = log.filter(({ seq }) => seq === found.seq);
  assert.ok(
    named.some(({ key, range }) =>
      key !== undefined
        ? key === found.key
        : found.key !== undefined
        ? spanContains(range!, found.key)
        : spansOverlap(range!, found.range!)
    ),
  );
}
