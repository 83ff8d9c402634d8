/**
 * Settings of the garbage collector, embedded or standalone: names, limits, defaults.
 *
 * @module
 */
import { Schema } from "effect";
import { InvalidArgument } from "../errors.ts";
import type { GcAges } from "../state/gc_rules.ts";

/** Least ages, of what is never reached again: see the fields. Everything is optional. */
export interface GcAgeOptions {
  /**
   * Age below which nothing is deleted, ms. Default 300,000. Below 60,000 it is refused unless `allowUnsafeAge` is set:
   * uploads, readers and processes that stall must be over sooner than that.
   */
  readonly minAgeMillis?: number;
  /**
   * Age at which a fence of the write-ahead log goes as well, ms, a day or more unless `allowUnsafeAge` is set.
   * Default: never. A writer that sleeps longer than this and wakes up after another took over may acknowledge a write
   * that is lost.
   */
  readonly walFenceMinAgeMillis?: number;
  /** Takes ages that are too small to be safe: for tests, and where nothing else has the database open. */
  readonly allowUnsafeAge?: boolean;
}

/** How a database that is open collects its garbage. */
export interface GarbageCollectorOptions extends GcAgeOptions {
  /** Time between passes while the database changes, ms, 1 or more. Default 600,000. An idle database makes none. */
  readonly intervalMillis?: number;
}

/** Settings with every default filled in. */
export interface ResolvedGc extends GcAges {
  readonly intervalMillis: number;
}

/** Default of `minAgeMillis`. */
const MIN_AGE_MILLIS = 300_000;
/** Default of `intervalMillis`. */
const INTERVAL_MILLIS = 600_000;
/** Smallest `minAgeMillis` that is safe. */
export const SAFE_AGE_MILLIS: number = 60_000;
/** Smallest `walFenceMinAgeMillis` that is safe. */
export const SAFE_FENCE_AGE_MILLIS: number = 86_400_000;

const int = (minimum: number) =>
  Schema.optional(Schema.Int.check(Schema.isBetween({ minimum, maximum: Number.MAX_SAFE_INTEGER })));

const FIELDS = {
  intervalMillis: int(1),
  minAgeMillis: int(0),
  walFenceMinAgeMillis: int(0),
  allowUnsafeAge: Schema.optional(Schema.Boolean),
};

/** What the options of an embedded collector are checked against. */
export const GarbageCollectorSchema: Schema.Struct<typeof FIELDS> = Schema.Struct(FIELDS);

/**
 * Fills in defaults of options that passed {@linkcode GarbageCollectorSchema}.
 *
 * @throws InvalidArgument reason "options" for an age that is not safe
 */
export function resolveGcOptions(options: GarbageCollectorOptions = {}): ResolvedGc {
  return {
    intervalMillis: options.intervalMillis ?? INTERVAL_MILLIS,
    ...resolveGcAges(options, "Cannot open: option garbageCollector."),
  };
}

/**
 * Fills in defaults of ages whose types were checked.
 *
 * @param place begins the message about a field, up to the field's name
 * @throws InvalidArgument reason "options" for an age that is not safe
 */
export function resolveGcAges(options: GcAgeOptions, place: string): GcAges {
  const { minAgeMillis = MIN_AGE_MILLIS, walFenceMinAgeMillis = Infinity, allowUnsafeAge = false } = options;
  if (!allowUnsafeAge) {
    checkAge(`${place}minAgeMillis`, minAgeMillis, SAFE_AGE_MILLIS);
    checkAge(`${place}walFenceMinAgeMillis`, walFenceMinAgeMillis, SAFE_FENCE_AGE_MILLIS);
  }
  return { minAgeMillis, walFenceMinAgeMillis };
}

function checkAge(field: string, millis: number, safe: number): void {
  if (millis >= safe) return;
  throw new InvalidArgument({
    reason: "options",
    message: `${field}: ${millis} ms is too young to be deleted safely; give ${safe} or more, or set allowUnsafeAge ` +
      "where no other process has the database open",
  });
}
