/**
 * `openReader`, and the Promise face of a reader. No logic of its own.
 *
 * @module
 */
import { Context, Effect } from "effect";
import type { DbReader, ReaderStatus } from "./admin_api.ts";
import type { KeyRange, OpenCostReport, SizeEstimate, Snapshot } from "./api.ts";
import { asDbError } from "./failures.ts";
import { type Location, resolveLocation } from "./location.ts";
import { PromiseReads, PromiseSnapshot } from "./promise_reads.ts";
import { type OpenedReader, openReaderAt } from "./reader.ts";
import { type ReaderOptions, resolveReaderOptions } from "./reader_options.ts";
import { surfaced } from "./reads.ts";
import { Runtime } from "./runtime.ts";

/**
 * Opens a database for reading while another process may write it. Any number of readers may be open.
 *
 * By default the reader keeps what it reads from being collected, by a checkpoint of its own for which it writes
 * manifests; `mode: "follow"` never writes, `checkpoint` shows the state of a checkpoint and stays there.
 *
 * @param location a folder ("./data", "file:///srv/data"), "s3://bucket/prefix", or `{ store, path }` with any object store
 * @param options settings; unknown names are refused
 * @returns the reader; `await using` closes it
 * @throws InvalidArgument for a bad location or option, "missing-database", "checkpoint-missing"; Unavailable when the
 * store does not answer; DataError when what is stored is damaged or a clone was not finished
 */
export function openReader(location: Location, options?: ReaderOptions): Promise<DbReader> {
  return new Runtime(Context.empty()).promise(surfaced(Effect.gen(function* () {
    const resolved = resolveReaderOptions(options);
    const place = yield* resolveLocation(location);
    return readerFace(yield* openReaderAt(place, resolved));
  })));
}

/** The Promise face of an open reader. */
export function readerFace(opened: OpenedReader): DbReader {
  return new PromiseReader(opened);
}

class PromiseReader extends PromiseReads implements DbReader {
  readonly #opened: OpenedReader;

  constructor(opened: OpenedReader) {
    super(opened.reader, opened.runtime);
    this.#opened = opened;
  }

  get status(): ReaderStatus {
    return this.#opened.status;
  }

  snapshot(): Promise<Snapshot> {
    try {
      return Promise.resolve(new PromiseSnapshot(this.#opened.snapshot(), this.#opened.runtime));
    } catch (error) {
      return Promise.reject(asDbError(error));
    }
  }

  refresh(): Promise<number> {
    return this.#opened.runtime.promise(this.#opened.refresh);
  }

  waitForSeq(seq: number, options?: { readonly timeoutMillis?: number }): Promise<void> {
    return this.#opened.runtime.promise(this.#opened.waitForSeq(seq, options));
  }

  estimate(range?: KeyRange): Promise<SizeEstimate> {
    return this.#opened.runtime.promise(this.#opened.sizes.estimate(range));
  }

  cost(): OpenCostReport {
    return this.#opened.cost();
  }

  close(): Promise<void> {
    return this.#opened.runtime.promise(this.#opened.close);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#opened.isClosed ? Promise.resolve() : this.close();
  }
}
