/**
 * Real processes on one database in S3: a writer that is killed, and two that race.
 *
 * @module
 */
import { open } from "../../mod.ts";
import { judgeKilled } from "../support/interop_child.ts";
import type { S3Place } from "../support/s3/server.ts";
import { assert, it } from "../support/suite.ts";
import { describeOnServers, freshFolder, onS3 } from "./places.ts";
import { S3Child } from "./s3_child.ts";

/** Times that the loading process is killed on one database. */
const KILLS = 3;
const ACKS_PER_KILL = 25;
const ROUNDS = 4;

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

/** All rows of a database, opened for writing. */
function rowsOf(place: S3Place, root: string): Promise<Map<string, string>> {
  return onS3(place, async (store) => {
    const db = await open({ store, path: root });
    const rows = await db.scan().toArray();
    await db.close();
    return new Map(rows.map(({ key, value }) => [text(key), text(value)]));
  });
}

/** Rows that a racing process says were acknowledged in a round. */
function acknowledged({ lines }: S3Child, root: string): string[] {
  return lines.filter((line) => line.startsWith(`ack ${root} `)).map((line) => line.split(" ").slice(2).join(" "));
}

const endings = ({ lines }: S3Child) => lines.filter((line) => line.startsWith("closed "));

/**
 * Lets both processes open the database at `root`, at the same moment or one after the other; waits until one of them is
 * out and the other has gone on, and then stops that one.
 *
 * @returns how the loser and the winner ended
 */
async function raceOnce(racers: readonly S3Child[], root: string, together: boolean): Promise<string[]> {
  const [one, other] = racers as [S3Child, S3Child];
  const before = racers.map((racer) => endings(racer).length);
  const isOut = (racer: S3Child) => endings(racer).length > before[racers.indexOf(racer)]!;
  one.tell(`go ${root}`);
  if (!together) await one.until(() => acknowledged(one, root).length >= 10);
  other.tell(`go ${root}`);
  // A fenced process may have nothing to write that would tell it; both write all the time.
  await Promise.race(racers.map((racer) => racer.until(() => isOut(racer))));
  const winner = isOut(one) ? other : one;
  const so = acknowledged(winner, root).length;
  await winner.until(() => acknowledged(winner, root).length >= so + 10 || isOut(winner));
  assert.ok(!isOut(winner), `both writers ended: ${racers.map((racer) => endings(racer).at(-1))}`);
  winner.tell("stop");
  await winner.until(() => isOut(winner));
  if (!together) assert.equal(winner, other, "who opens last wins");
  return [endings(winner === one ? other : one).at(-1)!, endings(winner).at(-1)!];
}

describeOnServers("processes", (place) => {
  it("a writer killed under load, again and again, leaves everything it acknowledged", async () => {
    const root = freshFolder();
    let next = 0;
    for (let kill = 0; kill < KILLS; kill++) {
      const child = new S3Child("load", place, `${root} ${next}`);
      const newest = () => Number(child.lines.at(-1) ?? -1);
      try {
        await child.until(() => newest() >= next + ACKS_PER_KILL - 1);
      } finally {
        child.kill();
      }
      assert.equal(await child.end(), "SIGKILL");
      next = judgeKilled(await rowsOf(place, root), newest()) + 1;
    }
    assert.ok(next >= KILLS * ACKS_PER_KILL);
  });

  it("of two writers that race exactly one lives, the other is fenced, and nothing acknowledged by either is lost", async () => {
    const racers = ["one", "two"].map((name) => new S3Child("race", place, name));
    try {
      await Promise.all(racers.map((racer) => racer.until((lines) => lines.includes("ready"))));
      for (let round = 0; round < ROUNDS; round++) {
        const root = freshFolder();
        const order = round % 4 < 2 ? racers : racers.toReversed();
        assert.deepEqual(await raceOnce(order, root, round % 2 === 0), ["closed fenced", "closed clean"]);
        const rows = await rowsOf(place, root);
        const wanted = racers.flatMap((racer) => acknowledged(racer, root));
        assert.ok(wanted.length >= 20 - (round % 2 === 0 ? 10 : 0));
        assert.deepEqual(wanted.filter((key) => !rows.has(key)), [], `round ${round}: acknowledged and lost`);
      }
    } finally {
      for (const racer of racers) racer.kill();
    }
  });
});
