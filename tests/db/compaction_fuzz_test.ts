/**
 * Random histories with compactions of all kinds, judged against a model.
 *
 * @module
 */
import { describe, it } from "../support/suite.ts";
import { CompactionHistory } from "./compaction_history.ts";

const FIRST_SEED = 2;
const END_SEED = 52;
const SEEDS_AT_ONCE = 10;

describe("compactions of all kinds in random histories", () => {
  for (let first = FIRST_SEED; first < END_SEED; first += SEEDS_AT_ONCE) {
    it(`change nothing that a scan or a snapshot shows, seeds from ${first} on`, async () => {
      for (let seed = first; seed < first + SEEDS_AT_ONCE; seed++) await new CompactionHistory(seed).live();
    });
  }
});
