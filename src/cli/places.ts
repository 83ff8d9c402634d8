/**
 * From what stands on the command line to stores and to an open writer.
 *
 * @module
 */
import { Effect } from "effect";
import type { Bytes, Db, KeyRange } from "../db/api.ts";
import { type Location, type ResolvedLocation, resolveLocation } from "../db/location.ts";
import type { OpenOptions } from "../db/options.ts";
import { open } from "../db/promise_open.ts";
import { InvalidArgument } from "../errors.ts";
import { parseRoot } from "../format/paths.ts";
import type { ObjectStoreShape } from "../store/object_store.ts";
import { storeBelow } from "../store/store_below.ts";
import type { CommandContext } from "./command.ts";
import { watchingStore } from "./store_watch.ts";
import { CommandFailure } from "./usage_error.ts";

/** Where a database and its write-ahead log live. */
export interface Place extends ResolvedLocation {
  /** The store of the log, when the command line names one. */
  readonly walStore: ObjectStoreShape | undefined;
}

/** The place that a command's `location`, `--path` and `--wal-location` name. */
export async function placeOf(context: CommandContext, location?: Location): Promise<Place> {
  const found = await tablesPlaceOf(context, location);
  const walLocation = context.args.text("wal-location");
  const wal = walLocation === undefined ? undefined : await resolvedFor(context, walLocation);
  if (wal === undefined) return { ...found, walStore: undefined };
  // A log refers to no database beside it.
  return { ...found, walStore: wal.root === "" ? wal.inside ?? wal.store : storeBelow(wal.store, wal.root) };
}

/** The place of the manifests and tables that a command's `location` and `--path` name. */
export async function tablesPlaceOf(context: CommandContext, location?: Location): Promise<ResolvedLocation> {
  const { args, runtime } = context;
  const found = await resolvedFor(context, location ?? args.position("location"));
  const path = args.text("path");
  const root = path === undefined ? found.root : await runtime.promise(Effect.sync(() => joinRoots(found.root, path)));
  return {
    store: root === "" ? found.store : found.inside ?? found.store,
    root,
    folder: root === "" ? found.folder : undefined,
    name: root === found.root ? found.name : `"${path}" below ${found.name}`,
  };
}

/** What the location names; what it opens is ended with the command. */
async function resolvedFor({ runtime, releases }: CommandContext, location: Location): Promise<ResolvedLocation> {
  const found = await runtime.promise(resolveLocation(location));
  if (found.release !== undefined) releases.push(found.release);
  return found;
}

function joinRoots(root: string, path: string): string {
  const below = parseRoot(path);
  return root === "" ? below : below === "" ? root : `${root}/${below}`;
}

/**
 * Opens a database for writing as a command does, and closes it after `work`: merge operands that are there already
 * stay as they are.
 */
export async function withWriter<A>(
  context: CommandContext,
  options: OpenOptions,
  work: (db: Db) => Promise<A>,
): Promise<A> {
  const place = await placeOf(context);
  const db = await open({ store: place.store, path: place.root }, {
    mergeOperator: "elsewhere",
    ...(place.walStore === undefined ? {} : { wal: { store: place.walStore } }),
    ...options,
  }).catch((error) => {
    throw isMissing(error) ? missingDatabase(place) : error;
  });
  let result: A;
  try {
    result = await watchingStore(context, db, () => work(db));
  } catch (error) {
    // The first failure counts; what was acknowledged is durable either way. A store that takes nothing takes no
    // orderly end either, so that one is not waited for.
    const closed = db.close().catch(() => {});
    if (!db.status.degraded) await closed;
    throw error;
  }
  await db.close();
  return result;
}

/** Settings of a writer that makes one change and goes: it leaves compaction and collection to those who stay. */
export const BRIEF_WRITER: OpenOptions = { compactor: false, garbageCollector: false };

/** Whether an operation found no database. */
export function isMissing(error: unknown): boolean {
  return error instanceof InvalidArgument && error.reason === "missing-database";
}

/** The failure of a command that needs a database where none is. */
export function missingDatabase(place: ResolvedLocation): CommandFailure {
  return new CommandFailure(
    "missing-database",
    `There is no database in ${
      place.name ?? "this location"
    }: check the location, or make one with "phyllite put" or "phyllite import"`,
  );
}

/** The range that the range flags name. */
export function rangeOf(context: CommandContext): KeyRange {
  const { args } = context;
  const bounds: Record<string, Bytes> = {};
  for (const name of ["prefix", "gte", "gt", "lte", "lt"]) {
    const bytes = args.bytes(name);
    if (bytes !== undefined) bounds[name] = bytes;
  }
  return bounds;
}
