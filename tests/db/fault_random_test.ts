/**
 * Random faults, crashes and takeovers from seeds, judged against a model, and by what the gate promises after every
 * request.
 *
 * @module
 */
import type { OpenOptions } from "../../src/db/options.ts";
import { virtualClock } from "../../src/env/virtual_clock.ts";
import { FaultDice } from "../../src/store/faulty/fault_plan.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import { assert, describe, it } from "../support/suite.ts";
import { type EndedLife, History, live, TINY } from "./fault_history.ts";
import { faultSeeds, fromSeeds } from "./fault_seeds.ts";
import { contentsOf, START_MILLIS } from "./fault_world.ts";
import { GateJudge } from "./gate_world.ts";

const SEEDS = 2;
const LIVES = 4;

interface Setting {
  readonly log: "on" | "off" | "by turns" | "apart";
  readonly rangeDeletes: "native" | "expand";
}

const SETTINGS: Record<string, Setting> = {
  "log on": { log: "on", rangeDeletes: "native" },
  "log off": { log: "off", rangeDeletes: "native" },
  "log on and off by turns": { log: "by turns", rangeDeletes: "native" },
  "log in a store of its own": { log: "apart", rangeDeletes: "native" },
  "log on, ranges expanded": { log: "on", rangeDeletes: "expand" },
  "log off, ranges expanded": { log: "off", rangeDeletes: "expand" },
};

/** Lives one history; answers whether it was ever gated. */
async function liveAll({ log, rangeDeletes }: Setting, seed: number): Promise<boolean> {
  const dice = new FaultDice(seed);
  const history = new History();
  const judge = new GateJudge();
  const inner = memoryStore();
  const logStore = log === "apart" ? memoryStore() : undefined;
  const place = {
    inner,
    through: judge.over(inner),
    ...(logStore === undefined ? {} : { log: judge.over(logStore) }),
  };
  const options: OpenOptions = {
    ...TINY,
    rangeDeletes,
    ...(dice.next() < 0.5 ? { garbageCollector: false } : {}),
    compactor: dice.next() < 0.5 ? false : { minCompactionSources: 2 },
  };
  let before: EndedLife | undefined;
  for (let life = 0; life < LIVES; life++) {
    const wal = log === "by turns" ? dice.next() < 0.5 : log !== "off";
    const ended = await live(place, history, dice, { ...options, wal }, `seed ${seed} life ${life}`);
    // A request of the life before last arrives only now.
    await before?.deliverLate();
    before = ended;
    assert.ok(judge.breaches.length === 0, `seed ${seed} life ${life}: ${judge.breaches[0]}`);
  }
  const wal = logStore === undefined ? log !== "off" : { store: logStore };
  const end = { ...options, wal, clock: virtualClock(START_MILLIS + 1e7) };
  history.settle(await contentsOf(inner, end), `seed ${seed}, the end`);
  assert.ok(rangeDeletes === "native" || !judge.sawGate, `seed ${seed}: gated, though ranges are expanded`);
  return judge.sawGate;
}

describe("R2 random faults of the store", () => {
  for (const [name, setting] of Object.entries(SETTINGS)) {
    it(`four lives each, closed or crashed: acknowledged writes stay, no batch is torn, ${name}`, async () => {
      let gated = 0;
      await fromSeeds(SEEDS, "fault_random_test.ts", async (seed) => {
        if (await liveAll(setting, seed)) gated++;
      });
      assert.equal(gated, setting.rangeDeletes === "native" ? faultSeeds(SEEDS).length : 0, "ever gated");
    });
  }
});
