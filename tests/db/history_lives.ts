/**
 * Random histories: which steps a seed stands for, living them, and making a failure small.
 *
 * @module
 */
import { Dice, drawSettings } from "./history_draw.ts";
import { READS, scanAll } from "./history_reads.ts";
import { type Counts, HistoryRun } from "./history_run.ts";
import { UPKEEP } from "./history_upkeep.ts";
import { type StepKind, WRITES } from "./history_writes.ts";

/** One step: a kind, and what it draws from. */
interface Step {
  readonly kind: string;
  readonly seed: number;
}

const KINDS: Readonly<Record<string, StepKind>> = { ...WRITES, ...READS, ...UPKEEP };
/** Groups in which others work on the same objects. */
const COMPANY = ["readers", "elsewhere", "crash"];
/** Most histories that are lived to make one failure small. */
const SHRINKING_LIVES = 400;

/** The steps of a seed. Each group of kinds is in use in two histories of three, since less at once finds more. */
export function stepsOf(seed: number): Step[] {
  const dice = new Dice(seed * 2);
  const groups = new Set(Object.values(KINDS).map(({ group }) => group).filter((group) => group !== undefined));
  const used = new Set([...groups].filter(() => dice.next(3) > 0));
  if (drawSettings(new Dice(seed * 2 + 1)).alone) { for (const group of COMPANY) used.delete(group); }
  const bag = Object.entries(KINDS)
    .filter(([, { group }]) => group === undefined || used.has(group))
    .flatMap(([kind, { weight }]) => Array.from({ length: weight }, () => kind));
  return Array.from(
    { length: dice.once(12) ? 400 : 60 + dice.next(90) },
    () => ({ kind: dice.of(bag), seed: dice.next(2 ** 30) }),
  );
}

/** How a history that failed did so. */
interface Failure {
  readonly error: unknown;
  readonly log: readonly string[];
  /** Number of steps until it failed. */
  readonly steps: number;
}

/** Lives some steps of a seed. */
async function live(seed: number, steps: readonly Step[], counts: Counts): Promise<Failure | undefined> {
  const run = new HistoryRun(seed, counts);
  let done = 0;
  try {
    await run.open();
    for (const { kind, seed } of steps) {
      done++;
      await KINDS[kind]!.run(run, new Dice(seed));
      run.checkStatus();
    }
    await end(run);
    return undefined;
  } catch (error) {
    return { error, log: run.log, steps: done };
  }
}

/** Everything is read once more, as it is, compacted, and opened again. */
async function end(run: HistoryRun): Promise<void> {
  await scanAll(run);
  run.say("at the end: compact");
  await run.get(run.db.compact());
  await scanAll(run);
  for (const walk of [...run.cursors, ...run.scans]) await run.get(walk.close());
  for (const { tx } of run.transactions) await run.get(tx.rollback());
  for (const { snapshot } of run.snapshots) snapshot.release();
  for (const { reader } of run.readers) await run.get(reader.close());
  run.readers = [];
  run.dropHandles();
  await run.get(run.db.close());
  run.durableSeq = run.model.lastSeq;
  await run.open();
  run.settle("at the end opened again");
  await scanAll(run);
  await run.get(run.db.close());
}

/** Leaves out as many steps as it can while something still fails: first the tail, then ever smaller pieces. */
async function shrunk(seed: number, steps: readonly Step[], first: Failure): Promise<Failure> {
  let best = first;
  let kept = steps.slice(0, first.steps);
  let lives = 0;
  for (let size = Math.ceil(kept.length / 2); size >= 1; size = Math.floor(size / 2)) {
    for (let at = 0; at < kept.length && lives < SHRINKING_LIVES;) {
      const fewer = [...kept.slice(0, at), ...kept.slice(at + size)];
      lives++;
      const failure = await live(seed, fewer, new Map());
      if (failure === undefined) at += size;
      else {
        best = failure;
        kept = fewer.slice(0, failure.steps);
      }
    }
  }
  return best;
}

/**
 * Lives the history of a seed.
 *
 * @throws Error with the shortest history found that still fails, and the command that replays it
 */
export async function liveHistory(seed: number, counts: Counts): Promise<void> {
  const steps = stepsOf(seed);
  const failure = await live(seed, steps, counts);
  if (failure === undefined) return;
  const { error, log } = await shrunk(seed, steps, failure);
  const { options, internals, latencyMillis } = new HistoryRun(seed, new Map()).settings;
  const why = (one: unknown) => one instanceof Error ? `${one.name}: ${one.message}` : String(one);
  throw new Error(
    `History ${seed} fails: ${why(error)}
Replay it with: PHYLLITE_HISTORY_SEED=${seed} deno test -A tests/db/histories_test.ts
Settings: ${JSON.stringify({ ...options, ...internals, latencyMillis })}
At first, with all steps: ${why(failure.error)}
What happens:
  ${log.join("\n  ")}`,
    { cause: error },
  );
}
