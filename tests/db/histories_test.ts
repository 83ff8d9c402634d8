/**
 * Random histories of whole databases, compared with a model answer by answer.
 *
 * `PHYLLITE_HISTORIES=5000` lives that many more seeds, from `PHYLLITE_HISTORY_FIRST` (default 1000) on;
 * `PHYLLITE_HISTORY_SEED=123` lives that one.
 *
 * @module
 */
import { canReadEnvironment } from "../support/permissions.ts";
import { assert, describe, it } from "../support/suite.ts";
import { liveHistory } from "./history_lives.ts";
import type { Counts } from "./history_run.ts";

const SEEDS = 32;
const SEEDS_AT_ONCE = 16;
const FIRST_OF_MANY = 1000;

const setting = (name: string): number | undefined => {
  const text = canReadEnvironment() ? process.env[name] : undefined;
  return text === undefined || text === "" ? undefined : Number(text);
};
const only = setting("PHYLLITE_HISTORY_SEED");
const many = setting("PHYLLITE_HISTORIES");
const first = many === undefined ? 0 : setting("PHYLLITE_HISTORY_FIRST") ?? FIRST_OF_MANY;
const end = first + (many ?? SEEDS);

describe("random histories", () => {
  if (only !== undefined) {
    it(`answer as the model does, seed ${only}`, () => liveHistory(only, new Map()));
    return;
  }
  const counts: Counts = new Map();
  for (let from = first; from < end; from += SEEDS_AT_ONCE) {
    it(`answer as the model does, seeds from ${from} on`, async () => {
      for (let seed = from; seed < Math.min(end, from + SEEDS_AT_ONCE); seed++) await liveHistory(seed, counts);
    });
  }
  it("do enough of everything", () => {
    for (
      const what of ["commit", "conflict", "crash", "taken over", "moves of cursors", "checkpoints read", "cached"]
    ) {
      assert.ok((counts.get(what) ?? 0) > 5, `${what}: ${counts.get(what)} times`);
    }
  });
});
