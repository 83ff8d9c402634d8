/**
 * Steps of random histories that move what is stored and who works on it: flushes, compactions, collections,
 * checkpoints, openings, crashes, readers, time.
 *
 * @module
 */
import { openReader } from "../../mod.ts";
import type { ReaderOptions } from "../../src/db/reader_options.ts";
import { compactOnce } from "../../src/db/standalone_compactor.ts";
import { assert } from "../support/suite.ts";
import { type Dice, drawRange } from "./history_draw.ts";
import { shownKey } from "./history_model.ts";
import { scanWhole } from "./history_reads.ts";
import type { HistoryRun, Source } from "./history_run.ts";
import { closeWalks, type StepKind } from "./history_writes.ts";

const OPEN_READERS = 3;
const OPEN_CHECKPOINTS = 4;
/** Ends are whole seconds. */
const END_SLACK_MILLIS = 2000;

async function flush(run: HistoryRun, dice: Dice): Promise<void> {
  const kind = run.settings.options.wal !== false && dice.once(4) ? "wal" : "memtable";
  run.say(`flush ${kind}`);
  await run.get(run.db.flush({ kind }));
  assert.equal(run.db.status.durableSeq, run.model.lastSeq, "flushed, but not durable");
}

/** Something long begins, and nobody waits for it; what it leaves behind is judged like everything else. */
async function start(run: HistoryRun, dice: Dice): Promise<void> {
  const { db, settings } = run;
  if (dice.once(3)) {
    run.say("a compaction begins");
    db.compact().catch(() => {});
  } else {
    const kind = settings.options.wal !== false && dice.once(2) ? "wal" : "memtable";
    run.say(`a flush ${kind} begins`);
    db.flush({ kind }).catch(() => {});
  }
  await run.world.clock.advance(dice.next(3) * Math.ceil(settings.latencyMillis / 2));
}

async function compact(run: HistoryRun, dice: Dice): Promise<void> {
  if (dice.once(2)) {
    run.say("compact");
    await run.get(run.db.compact());
  } else {
    const { range, span } = drawRange(dice, run.settings.keys, false);
    run.say(`compact [${shownKey(span.start)}, ${shownKey(span.end)})`);
    await run.get(run.db.compact(range));
  }
  run.count("compact");
}

/** Another process compacts what there is to compact, and ends. */
async function compactElsewhere(run: HistoryRun): Promise<void> {
  run.say("compact elsewhere");
  const { compactor } = run.settings.options;
  const settings = typeof compactor === "object" ? compactor : {};
  const options = { clock: run.world.clock, mergeOperator: run.mergeOperator, ...settings };
  await run.get(compactOnce({ store: run.world.inner, path: "" }, options));
}

async function collect(run: HistoryRun): Promise<void> {
  run.say("collect garbage");
  await run.get(run.db.collectGarbage());
}

async function advance(run: HistoryRun, dice: Dice): Promise<void> {
  const millis = dice.of([1, 100, 1000, 5000, 30_000, 120_000]) + dice.next(50);
  run.say(`${millis} ms go by`);
  await run.world.clock.advance(millis);
}

async function longPause(run: HistoryRun, dice: Dice): Promise<void> {
  const millis = dice.of([20, 70]) * 60_000;
  run.say(`${millis} ms go by`);
  await run.world.clock.advance(millis);
}

async function checkpoint(run: HistoryRun, dice: Dice): Promise<void> {
  if (run.checkpoints.length >= OPEN_CHECKPOINTS) return;
  const scope = dice.of(["all", "durable"] as const);
  const lifetimeMillis = dice.once(2) ? undefined : 60_000 + dice.next(600_000);
  const before = scope === "all" ? run.model.lastSeq : run.db.status.durableSeq;
  run.say(`checkpoint of ${scope}, ${lifetimeMillis} ms`);
  const made = await run.get(run.db.checkpoint({ scope, ...(lifetimeMillis === undefined ? {} : { lifetimeMillis }) }));
  const after = scope === "all" ? before : run.model.lastSeq;
  const expiresAt = made.expiresAt === undefined ? Infinity : made.expiresAt - END_SLACK_MILLIS;
  run.checkpoints.push({ id: made.id, seq: before, lastSeq: after, expiresAt });
}

async function readCheckpoint(run: HistoryRun, dice: Dice): Promise<void> {
  run.checkpoints = run.checkpoints.filter(({ expiresAt }) => expiresAt > run.now + 10_000);
  if (run.checkpoints.length === 0) return;
  const { id, seq, lastSeq } = dice.of(run.checkpoints);
  run.say(`opens the checkpoint @${seq}`);
  const reader = await run.get(openReader({ store: run.world.store, path: "" }, {
    ...readerOptions(run, dice),
    checkpoint: id,
  }));
  const shown = reader.status.seq;
  assert.ok(shown >= seq && shown <= lastSeq, `a checkpoint of ${seq}..${lastSeq} shows ${shown}`);
  const source: Source = { name: "the checkpoint", owner: reader, reads: reader, seq: () => shown, mayExpire: false };
  await scanWhole(run, source);
  await run.get(reader.close());
  run.count("checkpoints read");
}

async function deleteCheckpoint(run: HistoryRun, dice: Dice): Promise<void> {
  run.checkpoints = run.checkpoints.filter(({ expiresAt }) => expiresAt > run.now + 10_000);
  if (run.checkpoints.length === 0) return;
  const [{ id, seq }] = run.checkpoints.splice(dice.next(run.checkpoints.length), 1) as [(typeof run.checkpoints)[0]];
  run.say(`deletes the checkpoint @${seq}`);
  await run.get(run.db.deleteCheckpoint(id));
}

async function reopen(run: HistoryRun): Promise<void> {
  run.say("close and open");
  await run.get(run.db.close());
  run.durableSeq = run.model.lastSeq;
  run.dropHandles();
  await run.open();
  run.settle("opened after a close");
}

async function crash(run: HistoryRun, dice: Dice): Promise<void> {
  if (dice.once(2)) {
    const kind = run.settings.options.wal === false ? "memtable" : dice.of(["wal", "memtable"] as const);
    run.say(`a flush ${kind} begins`);
    run.db.flush({ kind }).catch(() => {});
    await run.world.clock.advance(dice.next(3) * run.settings.latencyMillis);
  }
  run.durableSeq = run.db.status.durableSeq;
  run.say("crash");
  await run.crash();
  await run.open();
  run.settle("opened after a crash");
  run.count("crash");
}

/** A second writer opens, and the first one is out. */
async function takeOver(run: HistoryRun): Promise<void> {
  run.say("another writer takes over");
  run.durableSeq = run.db.status.durableSeq;
  const former = run.db;
  await run.open();
  run.settle("taken over");
  run.dropHandles();
  former.close().catch(() => {});
  run.count("taken over");
}

function readerOptions(run: HistoryRun, dice: Dice): ReaderOptions {
  return {
    clock: run.world.clock,
    ttl: run.settings.options.ttl ?? "strict",
    mergeOperator: run.mergeOperator,
    blockCacheBytes: dice.of([0, 2000, 1_000_000]),
    maxMemtableBytes: dice.of([500, 1_000_000]),
  };
}

async function openAReader(run: HistoryRun, dice: Dice): Promise<void> {
  if (run.readers.length >= OPEN_READERS) return;
  const mode = dice.of(["managed", "follow"] as const);
  const name = `reader ${++run.names} (${mode})`;
  run.say(`${name} opens`);
  const manifestPollIntervalMillis = dice.of([1000, 10_000]);
  const reader = await run.get(openReader({ store: run.world.store, path: "" }, {
    ...readerOptions(run, dice),
    mode,
    manifestPollIntervalMillis,
  }));
  run.readers.push({ reader, mode, name, seen: reader.status.seq });
}

async function refresh(run: HistoryRun, dice: Dice): Promise<void> {
  if (run.readers.length === 0) return openAReader(run, dice);
  const held = dice.of(run.readers);
  const before = run.db.status.durableSeq;
  const seq = await run.get(held.reader.refresh());
  run.say(`${held.name} refreshes: @${seq}`);
  // An object of the log may be stored before the writer knows it.
  assert.ok(seq >= before && seq <= run.model.lastSeq, `refreshed to ${seq} of ${before}`);
  await scanWhole(run, run.ofReader(held));
}

async function closeReader(run: HistoryRun, dice: Dice): Promise<void> {
  if (run.readers.length === 0) return;
  const [{ reader, name }] = run.readers.splice(dice.next(run.readers.length), 1) as [(typeof run.readers)[0]];
  run.say(`${name} closes`);
  await closeWalks(run, reader);
  await run.get(reader.close());
}

/** Steps about what is stored. */
export const UPKEEP: Readonly<Record<string, StepKind>> = {
  flush: { weight: 12, run: flush },
  start: { weight: 6, group: "starts", run: start },
  compact: { weight: 5, group: "compact", run: compact },
  compactElsewhere: { weight: 1, group: "elsewhere", run: compactElsewhere },
  collect: { weight: 4, group: "collect", run: collect },
  advance: { weight: 7, run: advance },
  longPause: { weight: 1, group: "pauses", run: longPause },
  checkpoint: { weight: 2, group: "checkpoints", run: checkpoint },
  readCheckpoint: { weight: 3, group: "checkpoints", run: readCheckpoint },
  deleteCheckpoint: { weight: 1, group: "checkpoints", run: deleteCheckpoint },
  reopen: { weight: 2, group: "reopen", run: reopen },
  crash: { weight: 2, group: "crash", run: crash },
  takeOver: { weight: 1, group: "crash", run: takeOver },
  openAReader: { weight: 2, group: "readers", run: openAReader },
  refresh: { weight: 5, group: "readers", run: refresh },
  closeReader: { weight: 1, group: "readers", run: closeReader },
};
