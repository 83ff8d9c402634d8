/**
 * `demo`: the whole engine on real files, as a story, with a crash in the middle.
 *
 * Everything is really done and every claim is checked; one that does not hold makes the exit code 1. Temporary folders
 * and the child process are removed however the demo ends, also by Ctrl-C.
 *
 * @module
 */
import { rmSync } from "node:fs";
import { mkdir, mkdtemp, readdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { type Command, type CommandContext, JSON_FLAG } from "../command.ts";
import { countText, plural, secondsText, sizeText } from "../text_layout.ts";
import { CommandFailure, UsageError } from "../usage_error.ts";
import { type DemoStage, loadAndKill, loadTheRest, reopenAndCompare } from "./crash_chapters.ts";
import { defaultTree, type DemoPlan, planDemo } from "./demo_plan.ts";
import { figures, openOfficial, readSome, scanBothWays, snapshotAndOverwrite } from "./read_chapters.ts";
import { Story } from "./story.ts";

/** A folder of our own below the system's place for such. */
async function scratchFolder(): Promise<string> {
  try {
    return await mkdtemp(join(tmpdir(), "phyllite-demo-"));
  } catch (error) {
    throw new CommandFailure("folder", `Cannot make a temporary folder: ${(error as Error).message}`);
  }
}

/** The folder the user wants the database in; must be new or empty. */
async function givenFolder(given: string): Promise<string> {
  const folder = resolve(given);
  try {
    await mkdir(folder, { recursive: true });
    if ((await readdir(folder)).length === 0) return folder;
  } catch (error) {
    throw new CommandFailure("folder", `Cannot use ${folder}: ${(error as Error).message}`);
  }
  throw new CommandFailure("folder", `Cannot use ${folder} for the demo's database: it is not empty`);
}

async function tell(stage: DemoStage, scratch: string): Promise<void> {
  const { acknowledged, cost } = await loadAndKill(stage);
  const db = await reopenAndCompare(stage, acknowledged);
  try {
    await loadTheRest(stage, db);
    await readSome(stage, db);
    await scanBothWays(stage, db);
    await snapshotAndOverwrite(stage, db);
    await openOfficial(stage, scratch);
    await figures(stage, db, cost);
  } finally {
    await db.close();
  }
}

async function summarize(stage: DemoStage, millis: number): Promise<void> {
  const { story, plan } = stage;
  const failed = story.claims.filter((claim) => !claim.held);
  story.figures["millis"] = millis;
  await story.chapter("Summary");
  await story.say(
    `${plural(plan.files.length, "file")}, ${sizeText(plan.totalBytes)}, one SIGKILL, ${secondsText(millis)}.`,
  );
  await story.say(
    `${plural(Number(story.figures["acknowledged"]), "file")} acknowledged before the kill, ${
      countText(Number(story.figures["lost"]))
    } of them lost.`,
  );
  await story.say(
    failed.length === 0
      ? `All ${story.claims.length} checks passed.`
      : `${failed.length} of ${story.claims.length} checks FAILED: ${failed.map((claim) => claim.claim).join("; ")}`,
  );
}

async function runDemo(context: CommandContext): Promise<number> {
  const { args, io, out, runtime } = context;
  const given = args.text("database");
  if (given !== undefined && args.on("keep")) throw new UsageError("--database keeps the database anyway");
  const plan: DemoPlan = await planDemo(args.optionalPosition("folder") ?? defaultTree());
  const database = given === undefined ? undefined : await givenFolder(given);
  const story = new Story(out, args.on("json"), io.color);
  const startedAt = runtime.now();
  const scratch = await scratchFolder();
  const keeps = args.on("keep");
  let kill: () => void = () => {};
  const cleanUp = () => {
    kill();
    const rubbish = keeps ? [join(scratch, "official")] : [scratch];
    for (const folder of rubbish) rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
  };
  const release = io.onInterrupt(cleanUp);
  try {
    const stage: DemoStage = {
      context,
      plan,
      story,
      database: database ?? join(scratch, "database"),
      own: (child) => {
        kill = () => child.kill();
      },
    };
    await tell(stage, join(scratch, "official"));
    await summarize(stage, runtime.now() - startedAt);
    if (keeps || database !== undefined) {
      await story.say(`The database is kept: phyllite stats ${stage.database}`);
    } else {
      await story.say("The database is removed now; with --keep it stays, to look at.");
    }
    await story.end();
    return story.allHeld ? 0 : 1;
  } finally {
    cleanUp();
    release();
  }
}

/** Shows the engine at work. */
export const demoCommand: Command = {
  spec: {
    name: "demo",
    summary: "See it work: store a tree of files, survive a SIGKILL, read it all back",
    details:
      "Stores every file of a folder (default: node_modules) as path -> bytes in a child process, kills that in " +
      "the middle, opens the database again, compares everything, goes on, reads, scans, takes a snapshot, opens " +
      "databases of the official engine, and ends with the shape of the LSM tree and what the requests would cost.",
    positions: [{ name: "folder", about: "the files to store; default: the installed dependencies", optional: true }],
    flags: [
      { name: "keep", kind: "switch", about: "Leave the database where it was made" },
      {
        name: "database",
        kind: "text",
        value: "FOLDER",
        about: "Make the database in this new or empty folder, and leave it",
      },
      JSON_FLAG,
    ],
    examples: ["phyllite demo", "phyllite demo ./photos --keep"],
  },
  run: runDemo,
};
