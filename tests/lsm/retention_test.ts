/**
 * Retention: its examples, and the promise that reads at protected sequence numbers do not change.
 *
 * @module
 */
import fc from "fast-check";
import { FLAG_CREATE, FLAG_EXPIRE, FLAG_MERGE, FLAG_TOMBSTONE, NO_EXPIRY, NO_TICK } from "../../src/format/types.ts";
import { END, PENDING } from "../../src/lsm/cursor.ts";
import { Memtable } from "../../src/lsm/memtable.ts";
import { type FoldMerge, foldMerge } from "../../src/lsm/merge_operator.ts";
import { RetainedRows, type RetentionRules } from "../../src/lsm/retention.ts";
import { assert, describe, it } from "../support/suite.ts";

const SEED = 20251123;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

const concat: FoldMerge = foldMerge((_key, existing, operand) => Uint8Array.from([...existing ?? [], ...operand]))!;

interface Version {
  readonly key: string;
  readonly seq: number;
  /** 0, FLAG_TOMBSTONE or FLAG_MERGE. */
  readonly kind: number;
  readonly value: string;
  readonly createTs: number;
  readonly expireTs: number;
}

const LETTERS: Record<string, number> = { v: 0, T: FLAG_TOMBSTONE, m: FLAG_MERGE };

/** "m5", "T4!9" (expires at 9): one version of key "k"; values and operands are their own label. */
function versions(labels: string, key = "k"): Version[] {
  return labels.split(" ").filter((label) => label !== "").map((label) => {
    const [, letter, seq, , expireTs] = /^([vTm])(\d+)(!(\d+))?$/.exec(label)!;
    const kind = LETTERS[letter!]!;
    return {
      key,
      seq: Number(seq),
      kind,
      value: kind === FLAG_TOMBSTONE ? "" : `${letter}${seq}`,
      createTs: Number(seq) * 10,
      expireTs: expireTs === undefined ? NO_EXPIRY : Number(expireTs),
    };
  });
}

function tableOf(rows: readonly Version[]): Memtable {
  const table = new Memtable();
  for (const { key, seq, kind, value, createTs, expireTs } of rows) {
    const [keyBytes, valueBytes] = [encoder.encode(key), encoder.encode(value)];
    table.insert(keyBytes, 0, keyBytes.length, seq, kind, createTs, expireTs, valueBytes, 0, valueBytes.length);
  }
  return table;
}

function retained(rows: readonly Version[], rules: Partial<RetentionRules>, budget = Infinity): Version[] {
  const all: RetentionRules = { minSeq: Infinity, tick: NO_TICK, dropTombstones: false, merge: undefined, ...rules };
  const kept = new RetainedRows(tableOf(rows).cursor(), all);
  const out: Version[] = [];
  kept.budget = budget;
  for (let move = kept.next(); move !== END; move = kept.next()) {
    if (move === PENDING) {
      kept.budget = budget;
      continue;
    }
    const { row } = kept;
    const times = (row.createTs === NO_TICK ? 0 : FLAG_CREATE) | (row.expireTs === NO_EXPIRY ? 0 : FLAG_EXPIRE);
    assert.equal(row.flags & (FLAG_CREATE | FLAG_EXPIRE), times);
    out.push({
      key: decoder.decode(row.keyBytes.subarray(row.keyStart, row.keyEnd)),
      seq: row.seq,
      kind: row.flags & (FLAG_TOMBSTONE | FLAG_MERGE),
      value: decoder.decode(row.valueBytes.subarray(row.valueStart, row.valueEnd)),
      createTs: row.createTs,
      expireTs: row.expireTs,
    });
  }
  assert.equal(kept.next(), END);
  return out;
}

/** The versions as labels again; a value that differs from the label of its row is shown. */
function labels(rows: readonly Version[]): string {
  return rows.map(({ seq, kind, value, expireTs }) => {
    const letter = kind === 0 ? "v" : kind === FLAG_MERGE ? "m" : "T";
    const shown = kind === FLAG_TOMBSTONE || value === `${letter}${seq}` ? "" : `=${value}`;
    return `${letter}${seq}${expireTs === NO_EXPIRY ? "" : `!${expireTs}`}${shown}`;
  }).join(" ");
}

describe("RetainedRows", () => {
  const cases: ReadonlyArray<readonly [string, string, Partial<RetentionRules>, string]> = [
    ["the version that the oldest snapshot sees, and newer ones", "T4 v2 v1", { minSeq: 3 }, "T4 v2"],
    ["nothing of a lone tombstone in the last run", "T2", { minSeq: 3, dropTombstones: true }, ""],
    ["an operand above a tombstone in the last run", "m5 T4 v2", { minSeq: 10, dropTombstones: true }, "m5"],
    ["a lone tombstone that may hide something", "T2 v1", { minSeq: 3 }, "T2"],
    ["every version above the barrier", "v9 v8 T7 v6", { minSeq: 3 }, "v9 v8 T7 v6"],
    ["the newest version only, without a barrier", "v9 v8 T7 v6", {}, "v9"],
    ["operands down to the first base, without a barrier", "m9 m8 v7 v6", {}, "m9 m8 v7"],
    ["the version at the barrier itself", "v5 v4 v3", { minSeq: 4 }, "v5 v4"],
    ["tombstones between versions that stay in the last run", "T9 v8 T7 T6 v3 v2", {
      minSeq: 4,
      dropTombstones: true,
    }, "T9 v8 T7 T6 v3"],
    [
      "no trailing tombstones of the last run, however many",
      "v9 T8 T7 T2 v1",
      { minSeq: 3, dropTombstones: true },
      "v9",
    ],
    ["an expired value as a tombstone", "v5!20 v4", { minSeq: 9, tick: 20 }, "T5"],
    ["a value that expires later", "v5!21 v4", { minSeq: 9, tick: 20 }, "v5!21"],
    ["no expired operand", "m5!20 m4!21 v3", { minSeq: 9, tick: 20 }, "m4!21 v3"],
    ["nothing of expired rows in the last run", "v5!20 v4", { minSeq: 9, tick: 20, dropTombstones: true }, ""],
    ["expired values above the barrier one by one", "v5!20 v4!20 v1", { minSeq: 2, tick: 20 }, "T5 T4 v1"],
    // Folding.
    ["operands at or below the barrier folded", "m5 m4 m3", { minSeq: 5, merge: concat }, "m5=m3m4m5"],
    ["operands above the barrier unfolded", "m7 m6 m5 m4", { minSeq: 5, merge: concat }, "m7 m6 m5=m4m5"],
    ["operands folded onto their value", "m5 m4 v3 v2", { merge: concat }, "v5=v3m4m5"],
    ["one operand folded onto its value", "m5 v3", { merge: concat }, "v5=v3m5"],
    ["operands folded onto a tombstone", "m5 m4 T3 v2", { merge: concat }, "v5=m4m5"],
    ["operands above the barrier apart from a base below", "m7 m4 v3", { minSeq: 5, merge: concat }, "m7 v4=v3m4"],
    ["a base above the barrier unfolded", "m7 v6 m5 m4", { minSeq: 5, merge: concat }, "m7 v6 m5=m4m5"],
    ["a lone operand as it was", "m5", { merge: concat }, "m5"],
    ["operands of different expiry apart", "m6!90 m5!90 m4!80 m3 v2", { merge: concat }, "m6!90=m5m6 m4!80 v3=v2m3"],
    ["a value of another expiry apart", "m6!90 m5!90 v4", { merge: concat }, "m6!90=m5m6 v4"],
    ["a value of the same expiry folded", "m6!90 v4!90", { merge: concat }, "v6!90=v4m6"],
    ["operands that expire onto a tombstone", "m6!90 m5!90 T4", { merge: concat }, "v6!90=m5m6"],
    ["operands onto an expired value as onto a tombstone", "m6!90 v4!20", { tick: 20, merge: concat }, "v6!90=m6"],
    ["an expired operand out of the fold", "m6 m5!20 m4 v3", { tick: 20, merge: concat }, "v6=v3m4m6"],
    ["tombstones that were held back before a fold", "T9 T8 m4 m3", {
      minSeq: 5,
      dropTombstones: true,
      merge: concat,
    }, "T9 T8 m4=m3m4"],
    ["tombstones that were held back before a fold onto a base", "T9 m4 T3", {
      minSeq: 5,
      dropTombstones: true,
      merge: concat,
    }, "T9 v4=m4"],
  ];
  for (const [name, before, rules, after] of cases) {
    it("RetainedRows drops tombstones of the keys that nothing older can hold, and of no others", () => {
      const span = (first: string, end: string | undefined, endInclusive: boolean) => ({
        first: encoder.encode(first),
        end: end === undefined ? undefined : encoder.encode(end),
        endInclusive,
      });
      const rows = "abcdefgh".split("").flatMap((key) => versions("T9 v8", key));
      const keys = (rules: Partial<RetentionRules>) => retained(rows, rules).map(({ key }) => key).join("");
      assert.equal(keys({ olderSpans: [span("b", "d", true), span("f", "g", false)] }), "bcdf");
      assert.equal(keys({ olderSpans: [span("b", "b", true), span("g", undefined, false)] }), "bgh");
      assert.equal(keys({ olderSpans: [] }), "abcdefgh", "not told");
      assert.equal(keys({ olderSpans: [span("b", "d", true)], dropTombstones: true }), "", "nothing is older");
      const [protectedRows] = [retained(rows, { minSeq: 8, olderSpans: [span("b", "d", true)] })];
      assert.equal(
        protectedRows.map(({ key, seq }) => key + seq).join(" "),
        rows.map(({ key, seq }) => key + seq).join(" "),
      );
    });

    it(`RetainedRows keeps ${name}`, () => {
      // Neighbours must neither be touched nor take anything over.
      const [left, right] = [versions("v1", "a"), versions("m2", "z")];
      const rows = [...right, ...versions(before), ...left];
      for (const budget of [Infinity, 1]) {
        const out = retained(rows, rules, budget);
        assert.equal(labels(out.slice(1, -1)), after);
        assert.deepEqual(out.filter(({ key }) => key !== "k"), [...left, ...right]);
      }
    });
  }

  it("RetainedRows tells keys apart that share words, lengths or all but the last byte", () => {
    const keys = ["a", "a\0", "a\0\0", "aaaaaaaa", "aaaaaaaa\0", "aaaaaaaab", "aaaaaaaac", "b".repeat(300)];
    const rows = keys.flatMap((key) => versions("v2 v1", key));
    assert.deepEqual(retained(rows, {}).map(({ key, seq }) => [key, seq]), keys.map((key) => [key, 2]));
  });

  it("RetainedRows folds long chains in batches and keeps the newest number and time", () => {
    const sizes: number[] = [];
    const counting: FoldMerge = (key, base, operands) => {
      sizes.push(operands.length);
      return concat(key, base, operands);
    };
    const rows = versions(Array.from({ length: 250 }, (_, i) => `m${i + 2}`).join(" "));
    const [folded, ...none] = retained(rows, { merge: counting });
    assert.equal(none.length, 0);
    assert.equal(folded!.value, rows.map(({ value }) => value).join(""));
    assert.deepEqual([folded!.seq, folded!.createTs, folded!.kind], [251, 2510, FLAG_MERGE]);
    assert.ok(sizes.every((size) => size <= 100), `${sizes}`);
  });

  it("RetainedRows keeps operands as they came when the operator refuses", () => {
    const refusing = foldMerge(() => {
      throw new Error("no");
    });
    const before = "m9!80 m8!80 m7 m6 v5";
    assert.equal(labels(retained(versions(before), { merge: refusing })), before);
    assert.equal(labels(retained(versions("m3 T2"), { merge: refusing, dropTombstones: true })), "m3");
    const many = Array.from({ length: 250 }, (_, i) => `m${300 - i}`).join(" ");
    assert.equal(labels(retained(versions(many), { merge: refusing })), many);
    const kept = new RetainedRows(tableOf(versions(many)).cursor(), {
      minSeq: Infinity,
      tick: NO_TICK,
      dropTombstones: false,
      merge: refusing,
    });
    kept.budget = 1000;
    kept.next();
    assert.ok(kept.budget >= 1000 - 101, "more operands were collected than a batch");
    assert.match(String(kept.foldFailure), /no/);
    assert.equal(kept.foldedOperands, 0);
  });

  it("RetainedRows survives an operator that writes into its arguments before it refuses", () => {
    const spoiling = foldMerge((_key, existing, operand) => {
      existing?.fill(0);
      operand.fill(0);
      throw new Error("no");
    });
    assert.equal(labels(retained(versions("m9 m8 v5"), { merge: spoiling })), "m9 m8 v5");
  });

  it("RetainedRows gives way after its budget and goes on where it was", () => {
    const rows = [...versions(Array.from({ length: 50 }, (_, i) => `v${i + 1}`).join(" ")), ...versions("v1", "z")];
    const kept = new RetainedRows(tableOf(rows).cursor(), {
      minSeq: Infinity,
      tick: NO_TICK,
      dropTombstones: false,
      merge: undefined,
    });
    kept.budget = 10;
    let turns = 0;
    const seqs: number[] = [];
    for (let move = kept.next(); move !== END; move = kept.next()) {
      if (move === PENDING) {
        turns++;
        kept.budget = 10;
        kept.collectNeeds([]);
      } else seqs.push(kept.row.seq);
    }
    assert.deepEqual(seqs, [50, 1]);
    assert.equal(turns, 5);
  });
});

/** A strict read at `maxSeq` and `now` over versions newest first, as the specification words it. */
function read(rows: readonly Version[], maxSeq: number, now: number): unknown {
  const operands: Version[] = [];
  let base: Version | undefined;
  let ended = false;
  for (const row of rows) {
    if (row.seq > maxSeq) continue;
    const expired = row.expireTs <= now;
    if (row.kind === FLAG_MERGE) {
      if (!expired) operands.push(row);
      continue;
    }
    ended = true;
    if (!expired && row.kind === 0) base = row;
    break;
  }
  const parts = base === undefined ? operands : [...operands, base];
  if (parts.length === 0) return ended ? "absent" : "unknown";
  return {
    complete: ended,
    value: parts.map(({ value }) => value).reverse().join(""),
    seq: Math.max(...parts.map(({ seq }) => seq)),
    createTs: Math.max(...parts.map(({ createTs }) => createTs)),
    expireTs: Math.min(...parts.map(({ expireTs }) => expireTs)),
  };
}

describe("RetainedRows against reads", () => {
  const version = fc.record({
    key: fc.constantFrom("a", "b", "common/1", "common/2"),
    kind: fc.constantFrom(0, FLAG_TOMBSTONE, FLAG_MERGE, FLAG_MERGE, FLAG_MERGE),
    expireTs: fc.oneof(fc.constant(NO_EXPIRY), fc.integer({ min: 1, max: 6 })),
  });
  const flaky = (failures: readonly boolean[]): FoldMerge => {
    let call = 0;
    return (key, base, operands) => {
      if (failures.length > 0 && failures[call++ % failures.length]) throw new Error("refused");
      return concat(key, base, operands);
    };
  };

  it(`RetainedRows changes no read at or above the barrier, now or later (seed ${SEED})`, () => {
    fc.assert(
      fc.property(
        fc.array(version, { maxLength: 24, size: "max" }),
        fc.oneof(fc.integer({ min: 0, max: 26 }), fc.constant(Infinity)),
        fc.oneof(fc.integer({ min: 0, max: 7 }), fc.constant(NO_TICK)),
        fc.boolean(),
        fc.option(fc.array(fc.boolean(), { maxLength: 3 }), { nil: undefined }),
        (shapes, minSeq, tick, dropTombstones, failures) => {
          const rows = shapes.map(({ key, kind, expireTs }, i): Version => {
            const seq = i + 2;
            const dead = kind === FLAG_TOMBSTONE;
            const value = dead ? "" : `(${seq})`;
            return { key, seq, kind, value, createTs: seq, expireTs: dead ? NO_EXPIRY : expireTs };
          });
          const merge = failures === undefined ? undefined : flaky(failures);
          const out = retained(rows, { minSeq, tick, dropTombstones, merge });
          const older: Version = { key: "", seq: 1, kind: 0, value: "(1)", createTs: 1, expireTs: NO_EXPIRY };
          for (const key of new Set(rows.map((row) => row.key))) {
            const before = rows.filter((row) => row.key === key).reverse();
            const after = out.filter((row) => row.key === key);
            const below = dropTombstones ? [[]] : [[], [older]];
            for (const rest of below) {
              for (let maxSeq = Math.min(minSeq, 30); maxSeq <= 30; maxSeq++) {
                // With an infinite barrier only the newest state counts.
                const at = minSeq === Infinity ? Infinity : maxSeq;
                for (let now = Math.max(tick, 0); now <= 7; now++) {
                  const expected = read([...before, ...rest], at, now);
                  const got = read([...after, ...rest], at, now);
                  if (rest.length > 0) assert.deepEqual(got, expected);
                  else assert.deepEqual(completed(got), completed(expected));
                }
              }
            }
            assertMinimal(after, minSeq, tick, dropTombstones);
          }
        },
      ),
      { seed: SEED, numRuns: 400 },
    );
  });
});

/** With nothing older, an answer is complete whether or not a base was found. */
function completed(answer: unknown): unknown {
  if (typeof answer === "object") return { ...answer, complete: true };
  return "absent";
}

function assertMinimal(rows: readonly Version[], minSeq: number, tick: number, dropTombstones: boolean): void {
  rows.forEach((row, i) => {
    assert.ok(row.expireTs > tick, "an expired row stayed");
    if (i > 0) assert.ok(rows[i - 1]!.seq > row.seq, "versions out of order");
    if (row.kind !== FLAG_MERGE && row.seq <= minSeq) assert.equal(i, rows.length - 1, "a row below the base stayed");
  });
  if (dropTombstones) assert.notEqual(rows.at(-1)?.kind, FLAG_TOMBSTONE, "a trailing tombstone stayed");
}
