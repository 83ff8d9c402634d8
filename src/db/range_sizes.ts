/**
 * Estimates of ranges, and whatever else is told from one version of the tree of an open database or reader.
 *
 * A table of that version that is gone from the store is no damage before the manifest was read again, as with reads
 * (decision D12).
 *
 * @module
 */
import { Effect } from "effect";
import { DataError, type DbError } from "../errors.ts";
import { resolveRange } from "../lsm/key_range.ts";
import { estimateSize } from "../lsm/size_estimate.ts";
import type { TableStatistics } from "../lsm/table_statistics.ts";
import type { KeyRange, SizeEstimate } from "./api.ts";
import type { ReadHost } from "./read_host.ts";
import { type Reader, surfaced } from "./reads.ts";

/** How often a report may start over because a table was collected under it. */
const RESTARTS_MAX = 4;

/** Estimates of one open database or reader. */
export class RangeSizes {
  readonly statistics: TableStatistics;
  readonly #host: ReadHost;
  readonly #reader: Reader;
  readonly #assertOpen: () => void;

  constructor(host: ReadHost, reader: Reader, statistics: TableStatistics, assertOpen: () => void) {
    this.statistics = statistics;
    this.#host = host;
    this.#reader = reader;
    this.#assertOpen = assertOpen;
  }

  /** About what a range holds. @returns fails with InvalidArgument for a bad range */
  estimate(range?: KeyRange): Effect.Effect<SizeEstimate, DbError> {
    return Effect.suspend(() => {
      const keys = resolveRange(range);
      return this.onNewest(
        Effect.suspend(() => estimateSize(this.statistics, this.#host.view(this.#reader.spec(undefined)), keys)),
      );
    }).pipe(surfaced);
  }

  /** Makes a report on the state of this moment, anew on the newest one when a table of it was collected. */
  onNewest<A>(report: Effect.Effect<A, unknown>): Effect.Effect<A, DbError> {
    const attempt = (restarts: number): Effect.Effect<A, unknown> =>
      Effect.suspend(() => {
        const { id } = this.#host.stored();
        return Effect.catch(report, (error) => {
          const isCollected = error instanceof DataError && error.reason === "missing-object";
          if (!isCollected || restarts >= RESTARTS_MAX) return Effect.fail(error);
          const newer = this.#reader.newerView(() => this.#reader.spec(undefined).maxSeq, error, id);
          return Effect.andThen(newer, attempt(restarts + 1));
        });
      });
    return Effect.suspend(() => {
      this.#assertOpen();
      return this.#reader.bounded(attempt(0));
    }).pipe(surfaced);
  }
}
