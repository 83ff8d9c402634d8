/** The sequence tracker: recording, merging, looking up, and its bytes. @module */
import fc from "fast-check";
import { SequenceTracker, TRACKER_POINTS_MAX } from "../../src/format/sequence_tracker.ts";
import { fromHex } from "../support/bytes.ts";
import { assert, describe, it } from "../support/suite.ts";
import { assertRefused, everyByteChange, everyTruncation } from "./damage.ts";

const SEED = 20270;

const EMPTY = fromHex("01 00000000 00000000 00000000");
const OFFICIAL = fromHex("01 04000000 00000004 0000000000000001 81412180 00000004 000000006b014374 9edfe1e0");
const BASE = 0x6b014374;

function tracker(...points: ReadonlyArray<readonly [number, number]>): SequenceTracker {
  const made = new SequenceTracker();
  for (const [seq, seconds] of points) {
    // A tracker of its own for each sample: no spacing between them.
    const one = new SequenceTracker();
    one.record(seq, seconds);
    made.extend(one, Infinity);
  }
  return made;
}

function pairs(from: SequenceTracker): Array<[number, number]> {
  return from.points.seqs.map((seq, i) => [seq, from.points.seconds[i]!]);
}

describe("format/sequence_tracker", () => {
  it("encode writes the official bytes of an empty tracker", () => {
    assert.deepEqual(new SequenceTracker().encode(), EMPTY);
    assert.equal(SequenceTracker.decode(EMPTY).length, 0);
  });

  it("decode and encode agree with an official tracker of four samples", () => {
    const decoded = SequenceTracker.decode(OFFICIAL);
    assert.deepEqual(pairs(decoded), [[1, BASE], [3, BASE + 61], [9, BASE + 121], [27, BASE + 196]]);
    assert.deepEqual(decoded.encode(), OFFICIAL);
  });

  it("encode uses each width of change at its limits", () => {
    // The change of the difference is 1, then what the case says: the bits after the prefix of the second value.
    const cases: ReadonlyArray<readonly [number, string]> = [
      [0, "0"],
      [1, "100000001"],
      [63, "100111111"],
      [64, "110001000000"],
      [255, "110011111111"],
      [256, "1110000100000000"],
      [2047, "1110011111111111"],
      [2048, "1111" + (2048).toString(2).padStart(32, "0")],
      [2 ** 31 - 1, "1111" + (2 ** 31 - 1).toString(2).padStart(32, "0")],
    ];
    for (const [change, bits] of cases) {
      const bytes = tracker([10, 0], [10 + 1, 0], [10 + 2 + change, 0]).encode();
      const stream = [...bytes.subarray(17, bytes.length - 13)].map((byte) => byte.toString(2).padStart(8, "0")).join(
        "",
      );
      assert.ok(stream.startsWith("100000001" + bits), `change ${change}: ${stream}`);
      assert.equal(pairs(SequenceTracker.decode(bytes)).at(-1)![0], 12 + change);
    }
    const falling = [-1, -63, -64, -255, -256, -2047, -2048, -100_000];
    for (const change of falling) {
      const made = tracker([1, 0], [200_001, 0], [400_001 + change, 0]);
      assert.deepEqual(pairs(SequenceTracker.decode(made.encode())), pairs(made), `change ${change}`);
    }
  });

  it(`encode and decode are inverse (seed ${SEED})`, () => {
    const gap = fc.oneof(fc.nat(3), fc.nat(100), fc.nat(3000), fc.nat(2 ** 31 - 1));
    fc.assert(
      fc.property(
        fc.maxSafeNat(),
        fc.nat(2 ** 40),
        fc.array(fc.tuple(gap, gap), { maxLength: 40 }),
        (seq, seconds, gaps) => {
          const points: Array<[number, number]> = [[Math.floor(seq / 2), seconds]];
          for (const [a, b] of gaps) points.push([points.at(-1)![0] + a + 1, points.at(-1)![1] + b]);
          const made = tracker(...points);
          assert.deepEqual(pairs(made), points);
          const decoded = SequenceTracker.decode(made.encode());
          // Only a change beyond 32 bits may have been left out, which these gaps can make by one.
          if (gaps.every(([a]) => a < 2 ** 31 - 1)) assert.deepEqual(pairs(decoded), points);
          assert.deepEqual(decoded.encode(), made.encode());
        },
      ),
      { seed: SEED, numRuns: 300 },
    );
  });

  it("encode leaves out samples whose distance 32 bits cannot carry, and only those", () => {
    const far = 2 ** 40;
    assert.deepEqual(pairs(SequenceTracker.decode(tracker([1, 0], [far, 60], [5 + far, 120]).encode())), [[1, 0]]);
    const late = tracker([1, 0], [2, 2 ** 31], [3, 2 ** 31 - 1], [4, 2 ** 31 + 5]);
    assert.deepEqual(pairs(SequenceTracker.decode(late.encode())), [[1, 0]]);
    const edge = tracker([1, 0], [2, 2 ** 31 - 1], [3, 2 ** 32 - 2]);
    assert.equal(SequenceTracker.decode(edge.encode()).length, 3);
  });

  it("record keeps the first sample and then one a minute", () => {
    const made = new SequenceTracker();
    made.record(1, 1000.9);
    made.record(2, 1001);
    made.record(3, 1059.99);
    made.record(4, 1060);
    made.record(5, 1061);
    made.record(6, 5000);
    assert.deepEqual(pairs(made), [[1, 1000], [4, 1060], [6, 5000]]);
  });

  it("record skips what would break the order instead of failing", () => {
    const made = new SequenceTracker();
    made.record(10, 1000);
    made.record(10, 2000);
    made.record(9, 2000);
    made.record(11, 900);
    for (const wrong of [Number.NaN, Infinity, -Infinity, 2 ** 60]) {
      made.record(12, wrong);
      made.record(wrong, 5000);
    }
    made.record(11.5, 5000);
    made.record(20, 3000);
    assert.deepEqual(pairs(made), [[10, 1000], [20, 3000]]);
  });

  it("successor keeps the spacing of a session over memtables", () => {
    const first = new SequenceTracker();
    first.record(1, 1000);
    const second = first.successor();
    second.record(2, 1030);
    assert.equal(second.length, 0);
    second.record(3, 1060);
    assert.deepEqual(pairs(second), [[3, 1060]]);
  });

  it("a tracker that is full drops every second sample", () => {
    const made = new SequenceTracker();
    for (let i = 0; i < TRACKER_POINTS_MAX; i++) made.record(i + 1, i * 60);
    assert.equal(made.length, TRACKER_POINTS_MAX);
    made.record(TRACKER_POINTS_MAX + 1, TRACKER_POINTS_MAX * 60);
    assert.equal(made.length, TRACKER_POINTS_MAX / 2 + 1);
    assert.deepEqual(made.points.seqs.slice(0, 3), [1, 3, 5]);
    assert.equal(made.points.seqs.at(-1), TRACKER_POINTS_MAX + 1);
    assert.deepEqual(pairs(SequenceTracker.decode(made.encode())), pairs(made));
  });

  it("extend takes samples up to the published number and leaves out inconsistent ones", () => {
    const made = tracker([5, 100], [9, 200]);
    made.extend(tracker([7, 300], [9, 310], [10, 150], [11, 400], [12, 500], [13, 600]), 12);
    assert.deepEqual(pairs(made), [[5, 100], [9, 200], [11, 400], [12, 500]]);
    made.extend(new SequenceTracker(), 12);
    assert.equal(made.length, 4);
  });

  it("extend drops own samples that were never published", () => {
    const made = tracker([5, 100], [50, 200]);
    made.extend(tracker([6, 300]), 7);
    assert.deepEqual(pairs(made), [[5, 100], [6, 300]]);
  });

  it("findTime and findSeq answer the neighbour on the side asked for", () => {
    const made = tracker([10, 100], [20, 200], [30, 200], [40, 300]);
    const times = [[9, 100, undefined], [10, 100, 100], [11, 200, 100], [30, 200, 200], [40, 300, 300], [
      41,
      undefined,
      300,
    ]];
    for (const [seq, up, down] of times) {
      assert.equal(made.findTime(seq!, "up"), up, `at or after ${seq}`);
      assert.equal(made.findTime(seq!, "down"), down, `at or before ${seq}`);
    }
    const seqs = [[99, 10, undefined], [100, 10, 10], [150, 20, 10], [200, 20, 30], [300, 40, 40], [
      301,
      undefined,
      40,
    ]];
    for (const [time, up, down] of seqs) {
      assert.equal(made.findSeq(time!, "up"), up, `at or after ${time}`);
      assert.equal(made.findSeq(time!, "down"), down, `at or before ${time}`);
    }
    assert.equal(new SequenceTracker().findSeq(1, "up"), undefined);
    assert.equal(new SequenceTracker().findTime(1, "down"), undefined);
  });

  it("decode leaves out samples out of order", () => {
    // 1, 3, 2, 4 with the seconds 0, 60, 61, 62: the third value goes back.
    const stream = (values: number[]) => {
      let bits = "";
      let delta = 0;
      for (let i = 1; i < values.length; i++) {
        const change = values[i]! - values[i - 1]! - delta;
        delta += change;
        bits += change === 0 ? "0" : "10" + (change & 0x7f).toString(2).padStart(7, "0");
      }
      const padded = bits.padEnd(Math.ceil(bits.length / 8) * 8, "0").match(/.{8}/g)!;
      return [0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, values[0]!, ...padded.map((byte) => Number.parseInt(byte, 2))];
    };
    const bytes = Uint8Array.of(1, 4, 0, 0, 0, ...stream([1, 3, 2, 4]), ...stream([0, 60, 61, 62]));
    assert.deepEqual(pairs(SequenceTracker.decode(bytes)), [[1, 0], [3, 60], [4, 62]]);
  });

  const bad: ReadonlyArray<readonly [string, string, string]> = [
    ["nothing", "", "truncated"],
    ["no count", "01 0000", "truncated"],
    ["version 2", "02 00000000 00000000 00000000", "unsupported-version"],
    ["counts that differ", "01 01000000 00000000 00000000", "malformed"],
    ["a huge count", "01 ffffffff ffffffff 0000000000000001", "too-large"],
    ["a count without values", "01 00010000 00000100 0000000000000001", "truncated"],
    ["a number above 2 ** 53", "01 01000000 00000001 0020000000000000 00000001 0000000000000000", "malformed"],
    ["the largest number", "01 01000000 00000001 ffffffffffffffff 00000001 0000000000000000", "malformed"],
    ["bytes left over", "01 00000000 00000000 00000000 00", "malformed"],
  ];
  for (const [name, text, reason] of bad) {
    it(`decode refuses ${name}`, () => {
      const input = text === "" ? new Uint8Array(0) : fromHex(text);
      assertRefused(() => SequenceTracker.decode(input), reason);
    });
  }

  it("decode gives the tracker or a FormatError for every truncation and byte change", () => {
    const input = tracker([1, 5], [2, 65], [200, 125], [5000, 1000], [2_000_000, 1060]).encode();
    for (const each of [input, OFFICIAL, EMPTY]) {
      const cut = everyTruncation(each, SequenceTracker.decode, () => false);
      assert.equal(cut.refused, each.length);
      assert.ok(everyByteChange(each, 1000, SequenceTracker.decode).refused > 100);
    }
  });
});
