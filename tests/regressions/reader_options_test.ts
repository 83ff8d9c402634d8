/**
 * Times of a reader that no stored checkpoint and no timer can hold.
 *
 * @module
 */
import { InvalidArgument } from "../../mod.ts";
import { ReaderWorld } from "../db/reader_world.ts";
import { assert, describe, it } from "../support/suite.ts";

const DAY = 86_400_000;

describe("openReader, with times out of all bounds", () => {
  for (
    const options of [
      { checkpointLifetimeMillis: 2 ** 32 * 1000 },
      { checkpointLifetimeMillis: 365 * DAY + 1 },
      { checkpointLifetimeMillis: 1e15 },
      { manifestPollIntervalMillis: 3e12 },
      { manifestPollIntervalMillis: 24 * DAY + 1 },
    ]
  ) {
    it(`refuses ${JSON.stringify(options)} before any request`, async () => {
      const world = new ReaderWorld();
      const db = await world.open();
      await world.get(db.close());
      const before = world.store.controls.log.length;
      const error = await world.error(world.reader(options));
      assert.ok(error instanceof InvalidArgument, String(error));
      assert.equal(error.reason, "options");
      assert.match(error.message, new RegExp(Object.keys(options)[0]!));
      assert.equal(world.store.controls.log.length, before);
    });
  }

  it("takes the longest there are", async () => {
    const world = new ReaderWorld();
    const db = await world.open();
    const longest = { manifestPollIntervalMillis: 24 * DAY, checkpointLifetimeMillis: 365 * DAY };
    for (const options of [longest, { manifestPollIntervalMillis: 24 * DAY }]) {
      const reader = await world.get(world.reader(options));
      const [pinned] = world.manifest.checkpoints;
      const millis = options === longest ? 365 * DAY : 48 * DAY;
      assert.equal(pinned!.expireTimeSeconds - pinned!.createTimeSeconds, millis / 1000);
      await world.get(reader.close());
    }
    await world.get(db.close());
  });
});
