/**
 * `wal`: the objects of the write-ahead log, or the rows of one.
 *
 * @module
 */
import { walPath } from "../format/paths.ts";
import { FLAG_RANGE_DELETE } from "../format/types.ts";
import { WalRows } from "../format/wal_sst.ts";
import { decoded } from "../errors.ts";
import {
  type Command,
  type CommandContext,
  JSON_FLAG,
  LOCATION_FLAGS,
  LOCATION_POSITION,
  READER_NOTE,
} from "./command.ts";
import { StoredObjects } from "./inspect.ts";
import { asked } from "./missing_object.ts";
import { placeOf } from "./places.ts";
import { storedRowJson, storedRowLine } from "./rows.ts";
import { columns, plural, sizeText } from "./text_layout.ts";
import { CommandFailure, UsageError } from "./usage_error.ts";

/** What is known about a WAL object. */
interface WalSummary {
  readonly id: number;
  readonly bytes: number;
  /** Range deletes included. */
  readonly rows: number;
  readonly rangeDeletes: number;
  readonly firstSeq?: number;
  readonly lastSeq?: number;
  /** Whether its rows still have to be replayed: it lies above the manifest's boundary. */
  readonly replayed: boolean;
}

/** Reads a WAL object's rows; damage becomes the public error. */
async function openRows(objects: StoredObjects, id: number): Promise<{ bytes: Uint8Array; rows: WalRows }> {
  const bytes = await objects.run(objects.walStore.get(walPath(objects.root, id)));
  return { bytes, rows: damaged(objects, id, () => new WalRows(bytes)) };
}

function damaged<A>(objects: StoredObjects, id: number, read: () => A): A {
  return decoded(walPath(objects.root, id), 0, read);
}

async function summarize(objects: StoredObjects, id: number, replayAfter: number): Promise<WalSummary> {
  const { bytes, rows } = await openRows(objects, id);
  let count = 0;
  let rangeDeletes = 0;
  let firstSeq = Infinity;
  let lastSeq = 0;
  while (damaged(objects, id, () => rows.next())) {
    count++;
    if ((rows.flags & FLAG_RANGE_DELETE) !== 0) rangeDeletes++;
    firstSeq = Math.min(firstSeq, rows.seq);
    lastSeq = Math.max(lastSeq, rows.seq);
  }
  const range = count === 0 ? {} : { firstSeq, lastSeq };
  return { id, bytes: bytes.length, rows: count, rangeDeletes, ...range, replayed: id > replayAfter };
}

async function listObjects(context: CommandContext, objects: StoredObjects): Promise<number> {
  const { args, out } = context;
  const { id, manifest } = await objects.newest();
  const listed = await objects.walObjects(0);
  if (manifest.walObjectStoreUri !== undefined && !objects.hasOwnWalStore) {
    throw new CommandFailure(
      "wal-store",
      "Its write-ahead log lives in a store of its own: name it with --wal-location",
    );
  }
  const summaries: WalSummary[] = [];
  for (const object of listed) {
    const summary = await summarize(objects, object.id, manifest.replayAfterWalId);
    if (args.on("json")) await out.json(summary);
    summaries.push(summary);
  }
  if (args.on("json")) return 0;
  const rows = summaries.map((summary) => [
    String(summary.id),
    sizeText(summary.bytes),
    String(summary.rows),
    summary.rangeDeletes === 0 ? "-" : String(summary.rangeDeletes),
    summary.rows === 0 ? "-" : `${summary.firstSeq}..${summary.lastSeq}`,
    summary.rows === 0 ? "fence" : summary.replayed ? "replayed when opened" : "in tables already",
  ]);
  for (const line of columns([["WAL id", "size", "rows", "range deletes", "sequence numbers", "state"], ...rows])) {
    await out.line(line);
  }
  await out.line(
    `${
      plural(listed.length, "WAL object")
    }; manifest ${id} has everything up to WAL id ${manifest.replayAfterWalId} in tables`,
  );
  return 0;
}

async function showRows(context: CommandContext, objects: StoredObjects, id: number): Promise<number> {
  const { args, out } = context;
  const listing = `phyllite wal ${args.position("location")}`;
  const { rows } = await asked(walPath(objects.root, id), `WAL object ${id}`, listing, () => openRows(objects, id));
  while (damaged(objects, id, () => rows.next())) {
    if (args.on("json")) await out.json(storedRowJson(rows));
    else await out.line(storedRowLine(rows));
  }
  return 0;
}

async function runWal(context: CommandContext): Promise<number> {
  const objects = new StoredObjects(context.runtime, await placeOf(context));
  const written = context.args.optionalPosition("id");
  if (written === undefined) return await listObjects(context, objects);
  const id = Number(written);
  if (!/^\d+$/.test(written) || !Number.isSafeInteger(id)) {
    throw new UsageError(`a WAL id is a whole number, not "${written}"`);
  }
  return await showRows(context, objects, id);
}

/** Lists the log, or shows one object of it. */
export const walCommand: Command = {
  spec: {
    name: "wal",
    summary: "List the objects of the write-ahead log, or print the rows of one",
    details:
      `A fence is an object without rows: a writer's claim to the log. Range deletes are rows here. ${READER_NOTE}`,
    positions: [LOCATION_POSITION, { name: "id", about: "number of a WAL object: print its rows", optional: true }],
    flags: [JSON_FLAG, ...LOCATION_FLAGS],
    examples: ["phyllite wal ./data", "phyllite wal ./data 7 --json"],
  },
  run: runWal,
};
