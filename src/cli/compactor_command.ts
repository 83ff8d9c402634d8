/**
 * `compactor`: compacts a database for as long as it runs, or with `--once` what is due now.
 *
 * @module
 */
import { type Command, type CommandContext, JSON_FLAG, LOCATION_POSITION, MERGE_FLAG, PATH_FLAG } from "./command.ts";
import { CompactionWatch, COMPACTOR_NOTE, movedText, shapeText } from "./compaction_watch.ts";
import { plural, secondsText } from "./text_layout.ts";
import { UsageError } from "./usage_error.ts";

/** Time between two looks for new tables when the command line does not say, ms. */
const POLL_MILLIS = 5000;
const SCHEDULERS = ["size-tiered", "leveled"] as const;

async function runCompactor(context: CommandContext): Promise<number> {
  const { args, out } = context;
  const [once, json] = [args.on("once"), args.on("json")];
  const poll = args.count("poll");
  if (once && poll !== undefined) throw new UsageError("--once and --poll do not go together: it looks once");
  if (poll === 0) throw new UsageError("--poll must be at least 1ms");
  const pollIntervalMillis = poll ?? POLL_MILLIS;
  const scheduler = (args.text("scheduler") ?? "size-tiered") as typeof SCHEDULERS[number];
  const watch = await CompactionWatch.start(context, {
    scheduler,
    pollIntervalMillis,
    thread: args.on("thread"),
  });
  try {
    if (once) {
      await watch.finished((compactor) => compactor.settled());
    } else {
      if (!json) {
        await out.line(
          `compacting, ${scheduler}: ${shapeText(watch.compactor.status)}; looks every ` +
            `${secondsText(pollIntervalMillis)}, Ctrl-C stops it`,
        );
        await out.flush();
      }
      await watch.stopped();
    }
    const { published, bytesIn, bytesOut, l0Count, runCount } = watch.compactor.status;
    if (json) {
      await out.json({ done: true, compactions: published, bytesIn, bytesOut, l0Count, runCount });
    } else {
      const what = published === 0
        ? "nothing was due"
        : `${plural(published, "compaction")}, ${movedText(bytesIn, bytesOut)}`;
      await out.line(`${once ? "done" : "stopped"}: ${what}; ${shapeText(watch.compactor.status)}`);
    }
  } finally {
    await watch.close();
  }
  return 0;
}

/** Compacts without a writer. */
export const compactorCommand: Command = {
  spec: {
    name: "compactor",
    summary: "Compact a database as its tables come, beside its writer or without one",
    details: `Runs until it is interrupted, or until another compactor takes over (exit code 1). ${COMPACTOR_NOTE}\n` +
      'Open the writer with "compactor: false" where this is to stay: a writer that has been superseded leaves the ' +
      "work alone, but one that is opened anew takes it back.",
    positions: [LOCATION_POSITION],
    flags: [
      {
        name: "scheduler",
        kind: "choice",
        choices: SCHEDULERS,
        about: "What is compacted when: fewest bytes written (size-tiered, the default), or fewest tables to read",
      },
      { name: "once", kind: "switch", about: "Compact what is due and end: for cron" },
      { name: "poll", kind: "span", value: "SPAN", about: "Time between two looks for new tables; 5s unless given" },
      { name: "thread", kind: "switch", about: "Merge in worker threads; for folders, without --merge and --path" },
      MERGE_FLAG,
      JSON_FLAG,
      PATH_FLAG,
    ],
    examples: ["phyllite compactor ./data", "phyllite compactor ./data --once --scheduler leveled"],
  },
  run: runCompactor,
};
