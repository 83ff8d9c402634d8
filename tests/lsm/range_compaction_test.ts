/**
 * Compactions of tables with range tombstones: no protected read changes, nothing is kept that need not be, and nothing
 * is covered that was not.
 *
 * @module
 */
import fc from "fast-check";
import { assert, describe, it } from "../support/suite.ts";
import { RangeTree, type TreeJob } from "./range_tree.ts";
import { Dice } from "./read_world.ts";

const SEED = 20261121;

describe("compactions of range tombstones", () => {
  it(`compactions of all kinds change no protected read (seed ${SEED})`, () => {
    let dropped = 0;
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1_000_000 }), (seed) => {
        const dice = new Dice(seed);
        const tree = new RangeTree(dice);
        let running: TreeJob[] = [];
        for (let step = 0; step < 14; step++) {
          if (dice.chance(50)) tree.flush();
          const spec = dice.chance(60) ? tree.pick(running.map(({ plan }) => plan.spec)) : undefined;
          if (spec !== undefined) running.push(tree.run(spec));
          if (running.length > 0 && dice.chance(70)) {
            const job = dice.pick(running);
            running = running.filter((one) => one !== job);
            if (tree.publish(job)) tree.check();
          }
        }
        for (const job of running) if (tree.publish(job)) tree.check();
        dropped += tree.dropped;
      }),
      { seed: SEED, numRuns: 150 },
    );
    assert.ok(dropped > 20, `only ${dropped} tables went unread`);
  });
});
