/**
 * Settings of the compactor, embedded or standalone: names, limits, defaults.
 *
 * @module
 */
import { Schema } from "effect";
import { InvalidArgument } from "../errors.ts";
import type { CompactionScheduler } from "../lsm/compaction_job.ts";
import { leveled } from "../lsm/leveled.ts";
import { sizeTiered } from "../lsm/size_tiered.ts";

/** How a database is compacted. Everything is optional; the defaults are those of SlateDB 0.12.1. */
export interface CompactorOptions {
  /**
   * What decides: "size-tiered" (default; fewest bytes written), "leveled" (fewest tables read, least space), or one of
   * your own.
   */
  readonly scheduler?: "size-tiered" | "leveled" | CompactionScheduler;
  /** Fewest L0 tables, or runs, that are compacted together, 2 or more. Default 4. */
  readonly minCompactionSources?: number;
  /** Most of them at once. Default 8. Size-tiered only. */
  readonly maxCompactionSources?: number;
  /** How much larger than the smallest so far a further run may be, 1 or more. Default 4. Size-tiered only. */
  readonly includeSizeThreshold?: number;
  /** Size of the top level, bytes. Default 256 MiB. Leveled only. */
  readonly levelBaseBytes?: number;
  /** How many times larger each level is than the one above, 2 or more. Default 10. Leveled only. */
  readonly levelMultiplier?: number;
  /** Size at which an output table is ended, bytes, 1 or more. Default 256 MiB. */
  readonly maxSstBytes?: number;
  /** Compactions at once, 1..32; with more than one a place is kept for L0. Default 4. */
  readonly maxConcurrentCompactions?: number;
  /**
   * Whether the merging is done in worker threads, one for each compaction under way. Default false. Needs a folder as
   * the location, no merge function (none, or "elsewhere") and no clock of one's own: neither a store nor a function can
   * cross over to a thread. On Deno it needs permission to read this package's files where they are local.
   */
  readonly thread?: boolean;
}

/**
 * Why merging cannot be done in threads, if it was asked for.
 *
 * @param folder the folder that the location names, if it names one
 */
export function threadRefusal(
  { compactor, mergeOperator, clock }: {
    readonly compactor: ResolvedCompactor | undefined;
    readonly mergeOperator: unknown;
    readonly clock: unknown;
  },
  folder: string | undefined,
): InvalidArgument | undefined {
  if (compactor?.thread !== true) return undefined;
  const problem = folder === undefined
    ? "a thread can only open a folder; give the folder's path as the location"
    : mergeOperator !== undefined && mergeOperator !== "elsewhere"
    ? 'a merge operator cannot cross over to a thread; give "elsewhere" and fold in another process'
    : clock !== undefined
    ? "a clock cannot cross over to a thread; leave out the clock"
    : undefined;
  if (problem === undefined) return undefined;
  const message = `Cannot open: option compactor.thread: ${problem}, or leave out compactor.thread`;
  return new InvalidArgument({ reason: "options", message });
}

/** A refusal of `open` as one of a compactor without a writer, whose options stand by themselves. */
export function forStandalone({ reason, message, cause }: InvalidArgument): InvalidArgument {
  const [, field] = FIELD_PATH.exec(message) ?? [];
  const text = message.replace(/^Cannot open: options?:? (compactor\.)?/, "").replaceAll("compactor.thread", "thread")
    .replaceAll(new RegExp(FIELD_PATH, "g"), ";").replace(/;$/, "");
  const what = field === undefined ? text : `${field}: ${text}`;
  return new InvalidArgument({ reason, message: `Cannot start the compactor: option ${what}`, cause });
}

/** Where the checks say which field is meant. */
const FIELD_PATH = / at (?:\["compactor"\])?\["(\w+)"\]/;

/** Settings with every default filled in. */
export interface ResolvedCompactor {
  readonly scheduler: CompactionScheduler;
  readonly maxSstBytes: number;
  readonly maxConcurrent: number;
  readonly thread: boolean;
}

const MIB = 1024 * 1024;
const int = (minimum: number, maximum: number = Number.MAX_SAFE_INTEGER) =>
  Schema.optional(Schema.Int.check(Schema.isBetween({ minimum, maximum })));
const ratio = (minimum: number) => Schema.optional(Schema.Number.check(Schema.isBetween({ minimum, maximum: 1e6 })));

const ownScheduler = Schema.declare((value: unknown): value is CompactionScheduler => {
  if (typeof value !== "object" || value === null) return false;
  const { name, minL0Sources, wholeRuns, propose } = value as Partial<CompactionScheduler>;
  return typeof name === "string" && Number.isSafeInteger(minL0Sources) && minL0Sources! >= 1 &&
    typeof wholeRuns === "boolean" &&
    typeof propose === "function";
}, { expected: "a scheduler with name, minL0Sources, wholeRuns and propose" });

const FIELDS = {
  scheduler: Schema.optional(Schema.Union([Schema.Literals(["size-tiered", "leveled"]), ownScheduler])),
  minCompactionSources: int(2, 1024),
  maxCompactionSources: int(2, 1024),
  includeSizeThreshold: ratio(1),
  levelBaseBytes: int(1),
  levelMultiplier: ratio(2),
  maxSstBytes: int(1),
  maxConcurrentCompactions: int(1, 32),
  thread: Schema.optional(Schema.Boolean),
};

/** What the options of a compactor are checked against. */
export const CompactorSchema: Schema.Struct<typeof FIELDS> = Schema.Struct(FIELDS);

/** Fills in defaults of options that passed {@linkcode CompactorSchema}. @throws InvalidArgument reason "options" */
export function resolveCompactor(options: CompactorOptions = {}): ResolvedCompactor {
  const { scheduler = "size-tiered", minCompactionSources = 4 } = options;
  const maxCompactionSources = options.maxCompactionSources ?? Math.max(8, minCompactionSources);
  if (maxCompactionSources < minCompactionSources) {
    throw new InvalidArgument({
      reason: "options",
      message: "Cannot open: option compactor.maxCompactionSources: must not be below minCompactionSources " +
        `(${minCompactionSources})`,
    });
  }
  return {
    scheduler: typeof scheduler === "object" ? scheduler : scheduler === "leveled"
      ? leveled({
        minL0Sources: minCompactionSources,
        baseBytes: options.levelBaseBytes,
        multiplier: options.levelMultiplier,
      })
      : sizeTiered({
        minCompactionSources,
        maxCompactionSources,
        includeSizeThreshold: options.includeSizeThreshold,
      }),
    maxSstBytes: options.maxSstBytes ?? 256 * MIB,
    maxConcurrent: options.maxConcurrentCompactions ?? 4,
    thread: options.thread ?? false,
  };
}
