import {
  AHEAD_BYTES,
  AHEAD_OBJECTS,
  contiguousFrom,
  contiguousTo,
  factsOf,
  fetchTogether,
  goneError,
  HistoryProof,
} from "../../src/state/wal_feed.ts";
import { walObject } from "../db/changes_world.ts";
import { assert, describe, it } from "../support/suite.ts";

const listed = (...ids: number[]) => ids.map((id) => ({ id, size: 100 }));
const idsOf = (objects: ReadonlyArray<{ readonly id: number }>) => objects.map(({ id }) => id);
const facts = (...seqs: number[]) => factsOf(walObject(seqs));

describe("wal_feed", () => {
  it("factsOf tells the least and greatest number, and whether the rows ascend", () => {
    assert.deepEqual(facts(3, 4, 4, 9), { firstSeq: 3, lastSeq: 9, ascends: true });
    assert.deepEqual(facts(5, 9, 3, 4), { firstSeq: 3, lastSeq: 9, ascends: false });
    assert.deepEqual(facts(), { firstSeq: 0, lastSeq: 0, ascends: true });
    assert.deepEqual(factsOf(new Uint8Array(0)), { firstSeq: 0, lastSeq: 0, ascends: true });
  });

  it("contiguousFrom ends at the first hole and names it", () => {
    const found = contiguousFrom(listed(1, 2, 4, 5, 6, 8), 4);
    assert.deepEqual([idsOf(found.objects), found.hole], [[4, 5, 6], 7]);
    assert.deepEqual(contiguousFrom(listed(1, 2), 2), { objects: listed(2), hole: undefined });
    assert.deepEqual(contiguousFrom(listed(1, 2), 3), { objects: [], hole: undefined });
    assert.deepEqual(contiguousFrom(listed(1, 5), 3), { objects: [], hole: 3 });
  });

  it("contiguousTo goes down to the first hole", () => {
    assert.deepEqual(idsOf(contiguousTo(listed(1, 3, 4, 5, 6), 5)), [5, 4, 3]);
    assert.deepEqual(idsOf(contiguousTo(listed(1, 3, 4), 5)), []);
    assert.deepEqual(idsOf(contiguousTo([], 5)), []);
  });

  it("fetchTogether takes as many as fit, and always one", () => {
    const sized = (...sizes: number[]) => sizes.map((size, i) => ({ id: i + 1, size }));
    assert.equal(fetchTogether(sized(...Array<number>(50).fill(1))).length, AHEAD_OBJECTS);
    assert.equal(fetchTogether(sized(2 * AHEAD_BYTES, 1)).length, 1);
    assert.deepEqual(idsOf(fetchTogether(sized(1, AHEAD_BYTES - 1, 1, 5), 1)), [2, 3]);
    assert.deepEqual(fetchTogether([]), []);
  });

  it("HistoryProof believes objects that end where the next begins, and says why it ends", () => {
    const proof = () => new HistoryProof(3, 8);
    const sound = proof();
    assert.equal(sound.oldest, 9);
    assert.equal(sound.add(facts(7, 8)), "on");
    assert.equal(sound.add(facts()), "on");
    assert.equal(sound.add(facts(4, 6)), "on");
    assert.equal(sound.oldest, 4);
    assert.equal(sound.add(facts(1, 3)), "found");
    assert.equal(proof().add(facts(6, 7)), "wal-off");
    assert.equal(proof().add(facts(6, 9)), "stray");
    const overlapping = proof();
    overlapping.add(facts(6, 8));
    assert.equal(overlapping.add(facts(4, 6)), "stray");
  });

  it("goneError says what is missing, why, and from where there is more", () => {
    const error = goneError("db", 7, "collected", 4, 12);
    assert.equal(error.object, "db/wal/00000000000000000007.sst");
    assert.deepEqual([error.reason, error.oldestSeq], ["gone", 12]);
    assert.match(
      error.message,
      /from sequence number 4 on: the log that held it was collected.*oldest available is 12/,
    );
  });
});
