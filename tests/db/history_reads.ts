/**
 * Steps of random histories that read: gets, scans, snapshots, cursors and scans that stay open, estimates.
 *
 * @module
 */
import { type Entry, NOT_CACHED, type ReadOptions } from "../../src/db/api.ts";
import { assert } from "../support/suite.ts";
import { type Dice, drawRange } from "./history_draw.ts";
import { bytesOf, shownKey, type Span, toldEntry, type View } from "./history_model.ts";
import { type HistoryRun, scanProblem, type Source } from "./history_run.ts";
import { CursorWalk, ScanWalk, type WalkSource } from "./history_walks.ts";
import { closeWalks, type StepKind } from "./history_writes.ts";

const OPEN_SNAPSHOTS = 4;
const OPEN_WALKS = 5;
/** A bit less than what walks may rest: an hour in a writer, the life of a checkpoint in a reader. */
const LEASE_MILLIS = 3_500_000;
const READER_LEASE_MILLIS = 590_000;

function drawSource(run: HistoryRun, dice: Dice): Source {
  return dice.once(3) ? run.ofDb : dice.of(run.sources());
}

/** A serializable transaction refuses to look at what is durable. */
function drawDurability(dice: Dice, { shadow }: Source): ReadOptions {
  return dice.once(6) && shadow?.tx.isolation !== "serializable" ? { durability: "durable" } : {};
}

async function get(run: HistoryRun, dice: Dice): Promise<void> {
  await getOf(run, drawSource(run, dice), dice);
}

/** Reads inside a transaction. */
async function look(run: HistoryRun, dice: Dice): Promise<void> {
  if (run.transactions.length === 0) return;
  const source = run.ofTransaction(dice.of(run.transactions));
  await (dice.once(3) ? getOf(run, source, dice) : scanOf(run, source, dice));
}

/** Gets a random key of something. */
async function getOf(run: HistoryRun, source: Source, dice: Dice): Promise<void> {
  const key = dice.of(run.settings.keys);
  const options = drawDurability(dice, source);
  source.shadow?.readKeys([key], false);
  const problem = (entry: Entry | undefined, view: View) => oneOf(run, key, toldEntry(entry), view);
  await run.check(
    source,
    "durability" in options,
    `get ${shownKey(key)}`,
    () => source.reads.getEntry(bytesOf(key), options),
    problem,
  );
  if (source.mayExpire) return;
  const cached = source.reads.getCached(bytesOf(key), options);
  if (cached === NOT_CACHED) return;
  const again = await run.get(source.reads.get(bytesOf(key), options));
  assert.deepEqual(cached, again, "getCached and get differ");
  run.count("cached");
}

function oneOf(run: HistoryRun, key: string, got: string, view: View): string | undefined {
  const right = run.model.possible(key, view);
  return right.has(got) ? undefined : `${shownKey(key)} is ${got}, not ${[...right].join(" or ")}`;
}

async function getMany(run: HistoryRun, dice: Dice): Promise<void> {
  const source = drawSource(run, dice);
  const keys = Array.from({ length: 1 + dice.next(8) }, () => dice.of(run.settings.keys));
  const options = drawDurability(dice, source);
  source.shadow?.readKeys(keys, false);
  await run.check(
    source,
    "durability" in options,
    `getMany ${keys.map(shownKey)}`,
    () => source.reads.getMany(keys.map(bytesOf), options),
    (values, view) => {
      for (const [i, key] of keys.entries()) {
        const value = values[i] === undefined ? "-" : String.fromCharCode(...values[i]!);
        const right = [...run.model.possible(key, view)].map((told) => told.split(" @")[0]!);
        if (!right.includes(value)) return `${shownKey(key)} is ${value}, not ${right.join(" or ")}`;
      }
      return undefined;
    },
  );
}

async function scan(run: HistoryRun, dice: Dice): Promise<void> {
  await scanOf(run, drawSource(run, dice), dice);
}

/** Scans a random range of something. */
async function scanOf(run: HistoryRun, source: Source, dice: Dice): Promise<void> {
  const { range, span } = drawRange(dice, run.settings.keys, false);
  const descending = dice.once(2);
  const limit = dice.once(3) ? 1 + dice.next(5) : undefined;
  const durability = drawDurability(dice, source);
  const options = {
    ...durability,
    order: descending ? "descending" as const : "ascending" as const,
    ...(limit === undefined ? {} : { limit }),
  };
  const how = { range: span, descending, limit: limit ?? Infinity };
  const rows = await run.check(
    source,
    "durability" in durability,
    `scan [${shownKey(span.start)}, ${shownKey(span.end)}) ${options.order} ${limit ?? ""}`,
    () => source.reads.scan(range, options).toArray(),
    (rows, view) => scanProblem(run.model, rows, how, view),
  );
  if (rows !== undefined) source.shadow?.looked(lookedAt(span, descending, rows, limit));
}

/** What a scan looked at: up to its last row, or everything when it ended. */
function lookedAt(span: Span, descending: boolean, rows: readonly Entry[], limit: number | undefined): Span {
  const last = rows.length === limit ? rows.at(-1) : undefined;
  if (last === undefined) return span;
  const key = String.fromCharCode(...last.key);
  return descending ? { start: key, end: span.end } : { start: span.start, end: `${key}\0` };
}

/** Reads everything from everything that can be read. */
export async function scanAll(run: HistoryRun): Promise<void> {
  for (const source of run.sources()) await scanWhole(run, source);
}

/** Reads everything from one of them. */
export async function scanWhole(run: HistoryRun, source: Source): Promise<void> {
  const how = { range: { start: "", end: undefined }, descending: false, limit: Infinity };
  await run.check(source, false, "scan everything", () => source.reads.scan().toArray(), (rows, view) => {
    return scanProblem(run.model, rows, how, view);
  });
  source.shadow?.looked(how.range);
}

async function snapshot(run: HistoryRun): Promise<void> {
  if (run.snapshots.length >= OPEN_SNAPSHOTS) return;
  const { durableSeq } = run.db.status;
  const taken = await run.db.snapshot();
  assert.equal(taken.seq, run.model.lastSeq);
  run.say(`snapshot @${taken.seq}, durable ${durableSeq}`);
  run.snapshots.push({ snapshot: taken, durableSeq: Math.min(durableSeq, taken.seq) });
}

async function release(run: HistoryRun, dice: Dice): Promise<void> {
  if (run.snapshots.length === 0) return;
  const [{ snapshot }] = run.snapshots.splice(dice.next(run.snapshots.length), 1) as [(typeof run.snapshots)[0]];
  run.say(`releases the snapshot @${snapshot.seq}`);
  await closeWalks(run, snapshot);
  snapshot.release();
}

function walkSource(run: HistoryRun, source: Source, durable: boolean): WalkSource {
  const { shadow } = source;
  return {
    owner: source.owner,
    name: source.name,
    view: { maxSeq: source.seq(durable), own: shadow?.view(0, durable).own, from: run.now, to: run.now },
    freshSeq: () => source.seq(durable),
    leaseMillis: run.readers.some(({ reader }) => reader === source.owner) ? READER_LEASE_MILLIS : LEASE_MILLIS,
    looked: shadow === undefined ? undefined : (span) => shadow.looked(span),
  };
}

async function openCursor(run: HistoryRun, dice: Dice): Promise<void> {
  if (run.cursors.length >= OPEN_WALKS) return;
  const source = drawSource(run, dice);
  const { range, span } = drawRange(dice, run.settings.keys, false);
  const options = drawDurability(dice, source);
  const durable = "durability" in options;
  run.say(
    `${source.name}: opens a cursor over [${shownKey(span.start)}, ${shownKey(span.end)})${durable ? " durable" : ""}`,
  );
  const of = walkSource(run, source, durable);
  const cursor = await run.get(source.reads.cursor(range, options));
  run.cursors.push(new CursorWalk(cursor, span, run.model, of));
}

async function moveCursor(run: HistoryRun, dice: Dice): Promise<void> {
  if (run.cursors.length === 0) return openCursor(run, dice);
  const walk = dice.of(run.cursors);
  const moves = Array.from({ length: 1 + dice.next(5) }, () => walk.draw(dice, run.settings.keys));
  const atOnce = dice.once(4);
  const going = atOnce ? moves.map((move) => walk.go(move)) : [];
  for (const promise of going) promise.catch(() => {});
  for (const [i, move] of moves.entries()) {
    const what = `${walk.name}: ${move.kind}${move.kind.startsWith("seek") ? ` ${shownKey(move.key)}` : ""}`;
    run.say(`${what}${atOnce ? ", not waiting" : ""}`);
    const moved = await run.walked(walk, going[i] ?? walk.go(move));
    if (moved === undefined) return;
    run.say(`  = ${moved.answer === undefined ? "nothing" : shownKey(String.fromCharCode(...moved.answer.key))}`);
    run.must(what, walk.check(move, moved.answer, run.now));
  }
  run.must(walk.name, walk.checkCurrent(walk.current));
  run.count("moves of cursors");
}

function openScan(run: HistoryRun, dice: Dice): void {
  if (run.scans.length >= OPEN_WALKS) return;
  const source = drawSource(run, dice);
  const { range, span } = drawRange(dice, run.settings.keys, false);
  const durability = drawDurability(dice, source);
  const descending = dice.once(2);
  const limit = dice.once(4) ? 1 + dice.next(8) : undefined;
  run.say(
    `${source.name}: opens a scan of [${shownKey(span.start)}, ${shownKey(span.end)})${descending ? " back" : ""}`,
  );
  const of = walkSource(run, source, "durability" in durability);
  const iterator = source.reads.scan(range, {
    ...durability,
    order: descending ? "descending" : "ascending",
    ...(limit === undefined ? {} : { limit }),
  }).iterator();
  run.scans.push(new ScanWalk(iterator, { range: span, descending, limit }, run.model, of));
}

async function moveScan(run: HistoryRun, dice: Dice): Promise<void> {
  if (run.scans.length === 0) return openScan(run, dice);
  const walk = dice.of(run.scans);
  const target = dice.once(4) ? walk.target(dice, run.settings.keys) : undefined;
  if (target !== undefined) {
    run.say(`${walk.name}: seeks ${shownKey(target)}`);
    if (await run.walked(walk, walk.seek(target)) === undefined) return;
  }
  for (let i = 1 + dice.next(3); i > 0; i--) {
    const moved = await run.walked(walk, walk.next());
    if (moved === undefined) return;
    run.say(
      `${walk.name}: ${moved.answer === undefined ? "ends" : shownKey(String.fromCharCode(...moved.answer.key))}`,
    );
    run.must(walk.name, walk.check(moved.answer, run.now));
  }
  run.count("rows of open scans");
}

async function closeWalk(run: HistoryRun, dice: Dice): Promise<void> {
  const all = [...run.cursors, ...run.scans];
  if (all.length === 0) return;
  const walk = dice.of(all);
  run.say(`${walk.name}: closed`);
  run.cursors = run.cursors.filter((one) => one !== walk);
  run.scans = run.scans.filter((one) => one !== walk);
  await run.get(walk.close());
}

async function estimate(run: HistoryRun, dice: Dice): Promise<void> {
  const { range, span } = drawRange(dice, run.settings.keys, false);
  const { bytes, entries } = await run.get(run.db.estimate(range));
  run.say(`estimate of [${shownKey(span.start)}, ${shownKey(span.end)}): ${entries}, ${bytes} bytes`);
  assert.ok(Number.isSafeInteger(bytes) && Number.isSafeInteger(entries) && bytes >= 0 && entries >= 0);
  const view: View = { maxSeq: run.model.lastSeq, from: run.now, to: run.now };
  const certain = run.model.certain(span, view);
  assert.ok(certain.length === 0 || (bytes > 0 && entries > 0), `nothing is estimated, but ${certain.map(shownKey)}`);
}

/** Steps that read. */
export const READS: Readonly<Record<string, StepKind>> = {
  get: { weight: 8, run: get },
  getMany: { weight: 3, run: getMany },
  scan: { weight: 12, run: scan },
  look: { weight: 10, group: "transactions", run: look },
  scanAll: { weight: 3, run: scanAll },
  snapshot: { weight: 4, group: "snapshots", run: snapshot },
  release: { weight: 2, group: "snapshots", run: release },
  openCursor: { weight: 4, group: "cursors", run: openCursor },
  moveCursor: { weight: 14, group: "cursors", run: moveCursor },
  openScan: { weight: 2, group: "scans", run: openScan },
  moveScan: { weight: 8, group: "scans", run: moveScan },
  closeWalk: { weight: 2, group: "cursors", run: closeWalk },
  estimate: { weight: 2, group: "estimates", run: estimate },
};
