/**
 * Both engines write one database in turns, both compact it while they write, against a model.
 *
 * A turn may be taken over while the compactions of the one before are under way: its process goes on as one that does
 * not know yet that it is no longer the writer.
 *
 * @module
 */
import { openCompactor } from "../../mod.ts";
import type { CompactorOptions } from "../../src/db/compactor_options.ts";
import { FaultDice } from "../../src/store/faulty/fault_plan.ts";
import {
  assertAllReachableStored,
  assertNoActiveOutputs,
  locationOf,
  officialAtRest,
  oursAtRest,
  until,
  versionsOf,
} from "../support/interop_compaction.ts";
import { type Mix, Model, randomWrite, verify } from "../support/interop_model.ts";
import {
  appendOperand,
  type HeldView,
  officialMissing,
  openOfficial,
  quickCompactor,
  type Writer,
} from "../support/interop_official.ts";
import {
  assertSameAnswers,
  copyPlace,
  manifests,
  newestManifest,
  openOurs,
  type OursWriter,
  type Place,
  withPlace,
} from "../support/interop_ours.ts";
import { keyOf } from "../support/interop_shapes.ts";
import { assert, describe, it } from "../support/suite.ts";

const skip = officialMissing();
const MIX: Mix = { keys: 160, merges: 0.2, expiring: 0.1 };
const TURNS = 12;
const WRITES_PER_TABLE = 25;

/** One database in the hands of both. */
interface Game {
  readonly place: Place;
  readonly model: Model;
  readonly dice: FaultDice;
  readonly compactor: CompactorOptions;
  readonly sources: number;
  /** Writers that were taken over without being closed. */
  readonly zombies: Writer[];
  /** How many versions of the compactions object were written in the turns of each. */
  readonly met: { ours: number; official: number };
}

function openFor(engine: "ours" | "official", { place, compactor, sources }: Game, compacts: boolean): Promise<Writer> {
  if (engine === "ours") {
    return openOurs(place.db, {
      merge: true,
      durable: false,
      open: {
        l0SstSizeBytes: 4000,
        blockSizeBytes: 1024,
        minFilterKeys: 1,
        compression: "lz4",
        compactor: compacts ? compactor : false,
      },
    });
  }
  return openOfficial(place.db, {
    merge: true,
    durable: false,
    blockSizeBytes: 1024,
    settings: {
      min_filter_keys: 1,
      compression_codec: "Zstd",
      compactor_options: compacts ? quickCompactor(sources, 2) : null,
    },
  });
}

/** Writes some tables, a snapshot in the middle; what the snapshot showed it must show at the end. */
async function work(writer: Writer, { model, dice }: Game, label: string): Promise<() => Promise<void>> {
  const tables = 3 + Math.floor(dice.next() * 5);
  const middle = Math.floor(dice.next() * tables * WRITES_PER_TABLE);
  let held: { readonly view: HeldView; readonly then: Model } | undefined;
  for (let i = 0; i < tables * WRITES_PER_TABLE; i++) {
    await randomWrite(writer, model, dice, label, MIX);
    if (i === middle) held = { view: await writer.hold(), then: model.copy() };
    if (i % WRITES_PER_TABLE === WRITES_PER_TABLE - 1) await writer.flush("memtable");
  }
  await writer.flush("wal");
  return async () => held?.then.assertRows(await held.view.rows(), `${label}: the snapshot`);
}

/** What only ours can: descending scans, expired rows hidden, compaction on demand. */
async function verifyOurs(writer: OursWriter, model: Model, what: string): Promise<void> {
  model.assertRows((await writer.rowsDescending()).toReversed(), `${what}: descending`);
  const began = Date.now();
  const strict = await writer.db.scan({}, { ttl: "strict" }).toArray();
  const shown = new Set(strict.map((entry) => Buffer.from(entry.key).toString()));
  const ended = Date.now();
  for (const key of model.values.keys()) {
    const alive = (model.expiries.get(key) ?? Infinity) > ended;
    assert.ok(shown.has(key) || !alive, `${what}: ${key} is hidden and has not expired`);
  }
  for (const { expiresAt = Infinity } of strict) assert.ok(expiresAt > began, `${what}: expired and shown`);
}

async function compactByHand(writer: OursWriter, dice: FaultDice): Promise<void> {
  const from = Math.floor(dice.next() * MIX.keys);
  const range = { gte: keyOf(from), lt: keyOf(from + 1 + Math.floor(dice.next() * 60)) };
  await writer.db.compact(dice.next() < 0.5 ? undefined : range);
}

async function turn(engine: "ours" | "official", game: Game, label: string): Promise<void> {
  const { place, model, dice, sources, met } = game;
  const before = versionsOf(place.db, "compactions").length;
  const known = versionsOf(place.db, "compactions").at(-1) ?? 0;
  const writer = await openFor(engine, game, true);
  await verify(writer, model, `${label} opens`, MIX);
  const verifySnapshot = await work(writer, game, label);
  await verify(writer, model, `${label} wrote`, MIX);
  const ours = engine === "ours" ? writer as OursWriter : undefined;
  if (ours !== undefined && dice.next() < 0.4) await compactByHand(ours, dice);
  const rests = dice.next() < 0.6;
  if (rests) await (ours !== undefined ? oursAtRest(ours, sources) : officialAtRest(place.db, sources));
  await verify(writer, model, `${label} compacted`, MIX);
  if (ours !== undefined) await verifyOurs(ours, model, label);
  await verifySnapshot();
  met[engine] += versionsOf(place.db, "compactions").length - before;
  if (ours !== undefined && game.zombies.length === 0) assertNoActiveOutputs(place.db, known);
  if (dice.next() < 0.35) game.zombies.push(writer);
  else {
    await writer.close();
    if (game.zombies.length === 0) await compareOnCopies(game, label);
  }
}

/** Two copies of a closed database, each opened by one engine that leaves it as it is. */
async function compareOnCopies(game: Game, label: string): Promise<void> {
  const [one, other] = [copyPlace(game.place.db), copyPlace(game.place.db)];
  const ours = await openFor("ours", { ...game, place: one }, false);
  const official = await openFor("official", { ...game, place: other }, false);
  game.model.assertRows(await assertSameAnswers(ours, official), `${label}: both on copies`);
  await Promise.all([ours.close(), official.close()]);
  one.done();
  other.done();
}

const GAMES: ReadonlyArray<readonly [seed: number, compactor: CompactorOptions & { minCompactionSources: number }]> = [
  [21, { scheduler: "size-tiered", minCompactionSources: 2, maxSstBytes: 1000 }],
  [22, { scheduler: "leveled", minCompactionSources: 2, maxSstBytes: 1000, levelBaseBytes: 3000, levelMultiplier: 2 }],
  [23, { scheduler: "size-tiered", minCompactionSources: 4, maxSstBytes: 3000 }],
  [24, { scheduler: "leveled", minCompactionSources: 3, maxSstBytes: 700, levelBaseBytes: 2000, levelMultiplier: 3 }],
];

function gameOf(place: Place, seed: number, compactor: typeof GAMES[number][1]): Game {
  return {
    place,
    model: new Model(),
    dice: new FaultDice(seed),
    compactor,
    sources: compactor.minCompactionSources,
    zombies: [],
    met: { ours: 0, official: 0 },
  };
}

describe("interop: turns of both engines, both compacting", { skip }, () => {
  for (const [seed, compactor] of GAMES) {
    it(`agree with a model after each turn, ours ${compactor.scheduler}, seed ${seed}`, () =>
      withPlace(async (place) => {
        const game = gameOf(place, seed, compactor);
        try {
          for (let i = 0; i < TURNS; i++) {
            const engine = i % 2 === seed % 2 ? "ours" : "official";
            await turn(engine, game, `turn ${i} ${engine}`);
            if (i % 4 === 3) { for (const zombie of game.zombies.splice(0)) await zombie.close().catch(() => {}); }
          }
        } finally {
          for (const zombie of game.zombies) await zombie.close().catch(() => {});
        }
        const { met } = game;
        const layouts = manifests(place.db).map(({ compacted }) => compacted);
        assert.ok(layouts.some((runs) => runs.length > 1), "there never were several runs");
        assert.ok(layouts.some((runs) => runs.some((run) => run.ssts.length > 1)), "no run had several tables");
        assert.ok(met.ours > 5 && met.official > 5, `an engine hardly compacted: ${JSON.stringify(met)}`);
      }));
  }

  for (const [seed, compactor] of GAMES.slice(0, 2)) {
    it(`our standalone compactor beside the official writer, ${compactor.scheduler}, seed ${seed}`, () =>
      withPlace(async (place) => {
        const game = gameOf(place, seed, compactor);
        const { model } = game;
        const official = await openOfficial(place.db, {
          merge: true,
          durable: false,
          blockSizeBytes: 1024,
          settings: { min_filter_keys: 1, manifest_poll_interval: "20ms" },
        });
        const standalone = await openCompactor(locationOf(place.db), {
          ...compactor,
          blockSizeBytes: 1024,
          mergeOperator: appendOperand,
          pollIntervalMillis: 20,
        });
        for (let round = 0; round < 5; round++) {
          const verifySnapshot = await work(official, game, `round ${round}`);
          await verify(official, model, `round ${round}, wrote`, MIX);
          if (round === 3) await standalone.compact();
          if (round % 2 === 0) await until("at rest", () => newestManifest(place.db).l0.length < 2, 2);
          await verify(official, model, `round ${round}, compacted`, MIX);
          await verifySnapshot();
        }
        const { published, trouble, phase } = standalone.status;
        assert.ok(published > 5 && trouble === undefined && phase !== "superseded", `${published} ${trouble} ${phase}`);
        await standalone.close();
        await official.close();
        assertNoActiveOutputs(place.db, 0);
        assertAllReachableStored(place.db, "in the end");
        const reopened = await openFor("official", game, true);
        await verify(reopened, model, "the official engine again", MIX);
        await reopened.close();
      }));
  }
});
