/**
 * The demo's first half: load in a child, kill it, open what it left, compare, load the rest.
 *
 * Invariants: "acknowledged" is what the child printed before it died, nothing else; every one of these files is
 * compared byte for byte with the file on the disk.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { Effect, Fiber } from "effect";
import type { CostReport, Db } from "../../db/api.ts";
import { open } from "../../db/promise_open.ts";
import { resolveLocation } from "../../db/location.ts";
import { BatchWriter } from "../batch_writer.ts";
import { textOf } from "../bytes_text.ts";
import type { CommandContext } from "../command.ts";
import type { TreeFile } from "../file_tree.ts";
import { contentsOf, rowsOfTree } from "../import_sources.ts";
import { StoredObjects } from "../inspect.ts";
import { Progress } from "../progress.ts";
import { countText, plural, secondsText, sizeText } from "../text_layout.ts";
import { CommandFailure } from "../usage_error.ts";
import type { DemoPlan } from "./demo_plan.ts";
import { LoaderProcess } from "./loader_process.ts";
import type { Story } from "./story.ts";

/** Share of the files after whose acknowledgement the child is killed. */
const KILL_SHARE = 0.45;
/** The kill comes within so many milliseconds from then on. */
const KILL_DELAY_MILLIS = 16;
/** A child that says nothing more is killed after this long, and the demo fails. */
const CHILD_LIFE_MILLIS = 180_000;
/** Files compared with one call. */
const COMPARE_FILES = 64;

/** What the chapters share. */
export interface DemoStage {
  readonly context: CommandContext;
  readonly plan: DemoPlan;
  readonly story: Story;
  /** Folder of the database. */
  readonly database: string;
  /** Has the process killed when the user interrupts the demo. */
  readonly own: (child: LoaderProcess) => void;
}

/** What the child said before it died. */
export interface ChildRecord {
  /** Keys that it acknowledged. */
  readonly acknowledged: ReadonlySet<string>;
  /** Requests that it had made by then. */
  readonly cost: CostReport | undefined;
}

/** Loads in a child and kills it in the middle; answers what it had acknowledged. */
export async function loadAndKill(stage: DemoStage): Promise<ChildRecord> {
  const { context, plan, story, database } = stage;
  await story.chapter("A child process stores a tree of files, and is killed in the middle");
  const links = plan.skipped === 0
    ? ""
    : ` (${plural(plan.skipped, "link or very large file", "links or very large files")} left out)`;
  await story.say(
    `Files:    ${plural(plan.files.length, "file")}, ${sizeText(plan.totalBytes)} below ${plan.folder}${links}`,
  );
  if (plan.isCut) await story.say("          There are more; the demo takes the first ones, so that it ends soon.");
  await story.say(`Database: ${database} (path of a file -> its bytes)`);
  const startedAt = context.runtime.now();
  const child = new LoaderProcess(database, plan.folder);
  stage.own(child);
  const { runtime } = context;
  const watchdog = runtime.fork(Effect.delay(Effect.sync(() => child.kill()), CHILD_LIFE_MILLIS));
  const heard = await listenAndKill(stage, child);
  const end = await child.ended();
  await runtime.promise(Fiber.interrupt(watchdog));
  if (!heard.isKilled) {
    throw new CommandFailure("child", `The child ended by itself (code ${end.code}): ${child.complaints}`);
  }
  await story.say(
    `Process ${child.pid} acknowledged ${plural(heard.acknowledged.size, "file")} (${sizeText(heard.bytes)}) as ` +
      `durable in ${secondsText(runtime.now() - startedAt)}, then got SIGKILL.`,
  );
  await story.check(
    `the child was killed, not stopped (${end.signal ?? `code ${end.code}`})`,
    end.signal === "SIGKILL",
  );
  story.figures["files"] = plan.files.length;
  story.figures["acknowledged"] = heard.acknowledged.size;
  return heard;
}

/** Listens to the child until its output ends; kills it when it has acknowledged enough. */
async function listenAndKill(
  { context, plan }: DemoStage,
  child: LoaderProcess,
): Promise<ChildRecord & { readonly bytes: number; readonly isKilled: boolean }> {
  const { err, runtime } = context;
  const progress = new Progress(err, runtime.clock, { label: "load", unit: "files", total: plan.files.length });
  const acknowledged = new Set<string>();
  let cost: CostReport | undefined;
  let bytes = 0;
  let isKilled = false;
  for await (const line of child.acknowledgements()) {
    for (const key of line.durable) acknowledged.add(key);
    bytes += line.bytes;
    cost = line.cost;
    // What was in the pipe when the signal went out was acknowledged, too.
    if (isKilled) continue;
    await progress.add(line.durable.length, line.bytes);
    isKilled = acknowledged.size >= plan.files.length * KILL_SHARE;
    // Within some milliseconds, so that the moment is another one in each run.
    if (isKilled) runtime.fork(Effect.delay(Effect.sync(() => child.kill()), runtime.now() % KILL_DELAY_MILLIS));
    else child.answer();
  }
  await progress.done();
  return { acknowledged, cost, bytes, isKilled };
}

/** Opens what the child left, compares every acknowledged file; answers the open database. */
export async function reopenAndCompare(stage: DemoStage, acknowledged: ReadonlySet<string>): Promise<Db> {
  const { context, plan, story, database } = stage;
  await story.chapter("Open it again: nothing that was acknowledged may be missing");
  const place = await context.runtime.promise(resolveLocation(database));
  const objects = new StoredObjects(context.runtime, { ...place, walStore: undefined });
  const { manifest } = await objects.newest();
  const wal = await objects.walObjects(manifest.replayAfterWalId);
  await story.say(
    `The crash left ${plural(manifest.l0.length, "L0 table")} and ${plural(wal.length, "WAL object")} ` +
      `(${sizeText(wal.reduce((sum, object) => sum + object.size, 0))}) to replay.`,
  );
  const startedAt = context.runtime.now();
  const db = await open(database, { l0SstSizeBytes: plan.l0SstSizeBytes });
  await story.say(
    `Opened in ${secondsText(context.runtime.now() - startedAt)}: the dead writer is fenced (epoch ` +
      `${db.status.writerEpoch}), sequence number ${db.status.lastSeq}.`,
  );
  const kept = plan.files.filter((file) => acknowledged.has(file.name));
  const differing = await differences(stage, db, kept, "compare");
  await story.check(
    `all ${countText(acknowledged.size)} acknowledged files are there, byte for byte` +
      (differing.length === 0 ? "" : `; not ${differing.slice(0, 3).join(", ")}`),
    kept.length === acknowledged.size && differing.length === 0,
  );
  story.figures["lost"] = differing.length;
  await survivors(stage, db, acknowledged);
  return db;
}

/** What was under way when the child died: may have survived, but whole. */
async function survivors(stage: DemoStage, db: Db, acknowledged: ReadonlySet<string>): Promise<void> {
  const { plan, story } = stage;
  const present = new Set<string>();
  for await (const key of db.scan().keys()) present.add(textOf(key) ?? "");
  const extra = plan.files.filter((file) => present.has(file.name) && !acknowledged.has(file.name));
  const torn = await differences(stage, db, extra, "compare");
  const strangers = [...present].filter((key) => !acknowledged.has(key)).length - extra.length;
  await story.say(
    extra.length === 0
      ? "No file beyond these had become durable."
      : `${plural(extra.length, "more file")} had become durable but not been acknowledged: the kill came first.`,
  );
  await story.check("whatever else is there is whole, too", torn.length === 0 && strangers === 0);
  story.figures["survivedUnacknowledged"] = extra.length;
}

/** The files whose value is not what is on the disk. */
async function differences(
  stage: DemoStage,
  db: Db,
  files: readonly TreeFile[],
  label: string,
): Promise<string[]> {
  const { err, runtime } = stage.context;
  const progress = new Progress(err, runtime.clock, { label, unit: "files", total: files.length });
  const found: string[] = [];
  for (let at = 0; at < files.length; at += COMPARE_FILES) {
    const group = files.slice(at, at + COMPARE_FILES);
    const values = await db.getMany(group.map((file) => file.name));
    let bytes = 0;
    for (const [i, file] of group.entries()) {
      const value = values[i];
      const contents = await contentsOf(file.path);
      bytes += contents.length;
      if (value === undefined || Buffer.compare(value, contents) !== 0) found.push(file.name);
    }
    await progress.add(group.length, bytes);
  }
  await progress.done();
  return found;
}

/** Loads what is missing, to the end, and makes tables of it. */
export async function loadTheRest(stage: DemoStage, db: Db): Promise<void> {
  const { context, plan, story } = stage;
  await story.chapter("Load the rest");
  const present = new Set<string>();
  for await (const key of db.scan().keys()) present.add(textOf(key) ?? "");
  const missing = plan.files.filter((file) => !present.has(file.name));
  const startedAt = context.runtime.now();
  const progress = new Progress(context.err, context.runtime.clock, {
    label: "load",
    unit: "files",
    total: missing.length,
  });
  let bytes = 0;
  const writer = new BatchWriter(db, async (batch) => {
    bytes += batch.bytes;
    await progress.add(batch.keys.length, batch.bytes);
  });
  for await (const row of rowsOfTree({ files: missing }, new Uint8Array(0))) await writer.add(row);
  await writer.finish();
  await progress.done();
  const millis = Math.max(1, context.runtime.now() - startedAt);
  await story.say(
    `${plural(missing.length, "file")}, ${sizeText(bytes)} durable in ${secondsText(millis)} ` +
      `(${sizeText(Math.round(bytes / millis * 1000))}/s).`,
  );
  await db.flush({ kind: "memtable" });
  let count = 0;
  for await (const batch of db.scan().batches()) count += batch.length;
  await story.check(`the database holds ${countText(plan.files.length)} files`, count === plan.files.length);
}
