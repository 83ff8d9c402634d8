/**
 * A compactor without a writer as the commands run it: what it does is printed as it happens, a signal stops it.
 *
 * One line per published compaction on standard output, a progress bar on a terminal, trouble on standard error. Lines
 * are printed in the order of events; when nobody reads them any more the compactor is stopped.
 *
 * @module
 */
import {
  openCompactor,
  type StandaloneCompactor,
  type StandaloneCompactorOptions,
  type StandaloneStatus,
} from "../db/standalone_compactor.ts";
import type { CommandContext } from "./command.ts";
import { mergeOperatorNamed } from "./merge_operators.ts";
import { isMissing, missingDatabase, tablesPlaceOf } from "./places.ts";
import { Progress } from "./progress.ts";
import { watchingStore } from "./store_watch.ts";
import { plural, sizeText } from "./text_layout.ts";
import { CommandFailure } from "./usage_error.ts";

/** Why the wait for a compactor ended before its work did. */
const STOPPED: unique symbol = Symbol("stopped");

/** Said in the help of both commands. */
export const COMPACTOR_NOTE =
  "Works on tables only: rows in a writer's memory or in the log stay there. Fences no writer and may run beside one, " +
  "but takes the place of a compactor that works there, the writer's own included. Tables and log objects that " +
  'nothing needs any more are left to the garbage collector ("phyllite gc").';

/** A running compactor and what it says. */
export class CompactionWatch {
  readonly compactor: StandaloneCompactor;
  readonly #context: CommandContext;
  readonly #progress: Progress;
  readonly #unlisten: ReadonlyArray<() => void>;
  readonly #ended: Promise<typeof STOPPED>;
  #end: (error: unknown) => void = () => {};
  #told: StandaloneStatus;
  #printing: Promise<void> = Promise.resolve();

  private constructor(context: CommandContext, compactor: StandaloneCompactor) {
    this.#context = context;
    this.compactor = compactor;
    this.#told = compactor.status;
    this.#progress = new Progress(context.err, context.runtime.clock, {
      label: "compact",
      unit: "read",
      total: undefined,
    });
    let stop: (why: typeof STOPPED) => void = () => {};
    this.#ended = new Promise((resolve, reject) => {
      stop = resolve;
      this.#end = reject;
    });
    // Whoever waits sees it; before that it is nobody's failure.
    this.#ended.catch(() => {});
    this.#unlisten = [
      compactor.onStatus((status) => this.#changed(status)),
      context.io.onStop(() => stop(STOPPED)),
    ];
    this.#changed(compactor.status);
  }

  /** Starts a compactor where the command's flags say. */
  static async start(context: CommandContext, options: StandaloneCompactorOptions): Promise<CompactionWatch> {
    const place = await tablesPlaceOf(context);
    const merge = mergeOperatorNamed(context.args.text("merge"));
    const compactor = await openCompactor(place.folder ?? { store: place.store, path: place.root }, {
      mergeOperator: merge ?? "elsewhere",
      ...options,
    }).catch((error) => {
      throw isMissing(error) ? missingDatabase(place) : error;
    });
    return new CompactionWatch(context, compactor);
  }

  /** Waits for `work`. Fails with `CommandFailure` when the compactor is stopped or superseded first. */
  async finished(work: (compactor: StandaloneCompactor) => Promise<void>): Promise<void> {
    const degrading = {
      onStatus: (listener: (status: { readonly degraded: boolean; readonly warnings: readonly string[] }) => void) =>
        this.compactor.onStatus(({ degraded }) =>
          listener({ degraded: degraded !== undefined, warnings: degraded === undefined ? [] : [degraded] })
        ),
    };
    const done = watchingStore(this.#context, degrading, () => work(this.compactor));
    if (await Promise.race([done, this.#ended]) !== STOPPED) return await this.#printed();
    throw new CommandFailure(
      "interrupted",
      "Stopped before everything was compacted; what was published is, and the database is as good as before",
    );
  }

  /** Waits until a signal stops the compactor. Fails with `CommandFailure` when another one took over. */
  async stopped(): Promise<void> {
    let isDegraded = false;
    const unlisten = this.compactor.onStatus(({ degraded }) => {
      if (degraded !== undefined && !isDegraded) this.#say(() => this.#warn(`${degraded}; still trying`));
      isDegraded = degraded !== undefined;
    });
    try {
      await this.#ended;
    } finally {
      unlisten();
    }
    await this.#printed();
  }

  /** Stops the compactor. */
  async close(): Promise<void> {
    for (const unlisten of this.#unlisten) unlisten();
    await this.compactor.close();
    await this.#progress.done();
  }

  #changed(status: StandaloneStatus): void {
    const before = this.#told;
    this.#told = status;
    if (status.published > before.published) this.#say(() => this.#publishedOne(before, status));
    if (status.trouble !== undefined && status.trouble !== before.trouble) {
      this.#say(() => this.#warn(`a compaction failed, another try follows: ${status.trouble}`));
    }
    if (status.phase === "superseded") {
      this.#end(
        new CommandFailure(
          "superseded",
          "Another compactor took over and this one stopped: leave the work to it, or stop it and start this one again",
        ),
      );
    }
    if (status.compactions.length > 0) void this.#draw(status).catch(() => {});
  }

  #publishedOne(before: StandaloneStatus, now: StandaloneStatus): Promise<void> {
    const { out, args } = this.#context;
    const [bytesIn, bytesOut] = [now.bytesIn - before.bytesIn, now.bytesOut - before.bytesOut];
    const { l0Count, runCount } = now;
    if (args.on("json")) return out.json({ compaction: now.published, bytesIn, bytesOut, l0Count, runCount });
    return out.line(`compaction ${now.published}: ${movedText(bytesIn, bytesOut)}; ${shapeText(now)} now`);
  }

  async #warn(text: string): Promise<void> {
    const { err } = this.#context;
    await err.line(`phyllite: ${text}`);
    await err.flush();
  }

  #say(print: () => Promise<void>): void {
    this.#printing = this.#printing
      .then(() => this.#progress.done())
      .then(print)
      .then(() => this.#context.out.flush());
    this.#printing.catch((error) => this.#end(error));
  }

  async #draw({ compactions }: StandaloneStatus): Promise<void> {
    let [done, total] = [0, 0];
    for (const { bytesIn, totalBytes } of compactions) {
      done += bytesIn;
      total += totalBytes;
    }
    await this.#progress.show({ done, total });
  }

  async #printed(): Promise<void> {
    await this.#printing;
    await this.#progress.done();
  }
}

/** "3 L0 tables, 1 sorted run". */
export function shapeText({ l0Count, runCount }: StandaloneStatus): string {
  return `${plural(l0Count, "L0 table")}, ${plural(runCount, "sorted run")}`;
}

/** "1.2 MiB read, 1.0 MiB written". */
export function movedText(bytesIn: number, bytesOut: number): string {
  return bytesIn + bytesOut === 0
    ? "tables moved, nothing rewritten"
    : `${sizeText(bytesIn)} read, ${sizeText(bytesOut)} written`;
}
