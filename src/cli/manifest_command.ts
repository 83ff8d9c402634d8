/**
 * `manifest`: the root of the database, the newest version or any that is still stored.
 *
 * @module
 */
import { Effect } from "effect";
import { folderPath, MANIFEST_DIR, parseNumberedName } from "../format/paths.ts";
import { COMPRESSION_NAMES, type Manifest, NO_TICK, type SstView } from "../format/types.ts";
import { isGated } from "../state/range_gate.ts";
import { rangeDeletionsOf, tableBytes } from "../lsm/table_stats.ts";
import type { ObjectMeta } from "../store/object_store.ts";
import { listAll } from "../store/list_all.ts";
import { type JsonBytes, jsonBytes, lineBytes, shorten } from "./bytes_text.ts";
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
import { columns, plural, sizeText, timeText } from "./text_layout.ts";
import { UsageError } from "./usage_error.ts";

function keyJson(key: Uint8Array | undefined): JsonBytes | null {
  return key === undefined ? null : jsonBytes(key);
}

function viewJson(view: SstView): Record<string, unknown> {
  const { info, visibleRange: visible } = view;
  return {
    id: view.sstId,
    viewId: view.viewId,
    formatVersion: view.formatVersion,
    bytes: tableBytes(info),
    firstKey: keyJson(info.firstEntry),
    lastKey: keyJson(info.lastEntry),
    compression: COMPRESSION_NAMES[info.compression],
    filterBytes: info.filterLen,
    rangeDeletions: rangeDeletionsOf(info),
    ...(info.rangeDeletes === undefined ? {} : { rangeEnd: keyJson(info.rangeDeletes.end) }),
    ...(visible === undefined ? {} : {
      visibleRange: {
        start: keyJson(visible.start.key),
        startInclusive: visible.start.inclusive,
        end: keyJson(visible.end.key),
        endInclusive: visible.end.inclusive,
      },
    }),
  };
}

/** Checkpoints whose versions are read to find the gate, at most, and at once. */
const CHECKPOINTS_MAX = 256;
const CHECKPOINT_READS = 8;

/** Numbers of the pinned versions that SlateDB refuses: those of a time when the database held range tombstones. */
async function gatedVersions(objects: StoredObjects, { checkpoints }: Manifest): Promise<ReadonlySet<number>> {
  const ids = [...new Set(checkpoints.map(({ manifestId }) => manifestId))].slice(0, CHECKPOINTS_MAX);
  const gated = new Set<number>();
  const look = (id: number) =>
    Effect.ignore(Effect.map(objects.manifests.read(id), ({ manifest }) => {
      if (isGated(manifest)) gated.add(id);
    }));
  await objects.run(Effect.forEach(ids, look, { concurrency: CHECKPOINT_READS, discard: true }));
  return gated;
}

/** A manifest in JSON: names as in the format's description, in camelCase; keys as text or `{"hex"}`. */
function manifestJson(id: number, manifest: Manifest, gated: ReadonlySet<number>): Record<string, unknown> {
  const { l0, compacted, lastL0ClockTick, sequenceTracker, ...rest } = manifest;
  return {
    id,
    ...rest,
    features: manifest.features ?? [],
    checkpoints: manifest.checkpoints.map((one) => ({ ...one, gated: gated.has(one.manifestId) })),
    lastCompactedL0: manifest.lastCompactedL0 ?? null,
    walObjectStoreUri: manifest.walObjectStoreUri ?? null,
    lastL0ClockTick: lastL0ClockTick === NO_TICK ? null : lastL0ClockTick,
    sequenceTrackerBytes: sequenceTracker?.length ?? 0,
    l0: l0.map(viewJson),
    compacted: compacted.map((run) => ({ id: run.id, ssts: run.ssts.map(viewJson) })),
  };
}

/** Lines about the tables of a manifest. */
function tableRows(level: string, views: readonly SstView[]): string[][] {
  return views.map((view) => [
    level,
    view.sstId,
    sizeText(tableBytes(view.info)),
    view.info.rangeDeletes === undefined ? "-" : String(view.info.rangeDeletes.count),
    shorten(view.info.firstEntry === undefined ? "-" : lineBytes(view.info.firstEntry)),
    shorten(view.info.lastEntry === undefined ? "-" : lineBytes(view.info.lastEntry)),
  ]);
}

function manifestLines(id: number, manifest: Manifest, gated: ReadonlySet<number>): string[] {
  const runs = manifest.compacted;
  const facts: string[][] = [
    ["manifest", String(id)],
    ["writer epoch", String(manifest.writerEpoch)],
    ["compactor epoch", String(manifest.compactorEpoch)],
    ["replay the WAL after", `id ${manifest.replayAfterWalId}`],
    ["last WAL id seen", String(manifest.walIdLastSeen)],
    ["last sequence number in tables", String(manifest.lastL0Seq)],
    ["newest creation time in tables", timeText(manifest.lastL0ClockTick) ?? "-"],
    ["oldest sequence number a snapshot needs", String(manifest.recentSnapshotMinSeq)],
    ["WAL store of its own", manifest.walObjectStoreUri === undefined ? "no" : "yes"],
    ["L0 tables", String(manifest.l0.length)],
    ["sorted runs", runs.map((run) => `${run.id} (${plural(run.ssts.length, "table")})`).join(", ") || "none"],
  ];
  if (manifest.features !== undefined) {
    facts.push(["features", `${manifest.features.join(", ")}: other engines refuse the database`]);
  }
  if (!manifest.initialized) facts.push(["initialized", "no: a clone that was not finished"]);
  for (const db of manifest.externalDbs) facts.push(["refers to", `${db.path} (${plural(db.sstIds.length, "table")})`]);
  for (const checkpoint of manifest.checkpoints) {
    const expiry = checkpoint.expireTimeSeconds === 0 ? "never" : timeText(checkpoint.expireTimeSeconds * 1000) ?? "?";
    const gate = gated.has(checkpoint.manifestId) ? "; with range deletes, so other engines refuse it" : "";
    const name = checkpoint.name === undefined ? "" : ` "${checkpoint.name}"`;
    facts.push([
      "checkpoint",
      `${checkpoint.id}${name} of manifest ${checkpoint.manifestId}, expires ${expiry}${gate}`,
    ]);
  }
  const tables = [...tableRows("L0", manifest.l0), ...runs.flatMap((run) => tableRows(`run ${run.id}`, run.ssts))];
  const lines = columns(facts.map(([name, value]) => [`${name}:`, value!]));
  if (tables.length > 0) {
    lines.push("", ...columns([["level", "table", "size", "ranges", "first key", "last key"], ...tables]));
  }
  return lines;
}

async function listVersions(context: CommandContext, objects: StoredObjects): Promise<number> {
  const { args, out } = context;
  const found: ObjectMeta[] = [];
  await objects.newest();
  await objects.run(
    listAll(objects.store, folderPath(objects.root, MANIFEST_DIR), undefined, (object) => {
      if (parseNumberedName(object.path) !== undefined) found.push(object);
    }),
  );
  const versions = found.map(({ path, size, lastModifiedMillis }) => ({
    id: parseNumberedName(path)!,
    bytes: size,
    storedAt: Math.floor(lastModifiedMillis),
  }));
  if (args.on("json")) {
    for (const version of versions) await out.json(version);
  } else {
    const rows = versions.map(({ id, bytes, storedAt }) => [String(id), sizeText(bytes), timeText(storedAt) ?? "-"]);
    for (const line of columns([["manifest", "size", "stored at"], ...rows])) await out.line(line);
  }
  return 0;
}

async function runManifest(context: CommandContext): Promise<number> {
  const { args, out } = context;
  const objects = new StoredObjects(context.runtime, await placeOf(context));
  const id = args.count("id");
  if (args.on("all")) {
    if (id !== undefined) throw new UsageError("--all and --id do not go together");
    return await listVersions(context, objects);
  }
  const stored = id === undefined ? await objects.newest() : await asked(
    objects.manifests.pathOf(id),
    `manifest ${id}`,
    `phyllite manifest ${args.position("location")} --all`,
    () => objects.run(Effect.suspend(() => objects.manifests.read(id))),
  );
  const gated = await gatedVersions(objects, stored.manifest);
  if (args.on("json")) await out.json(manifestJson(stored.id, stored.manifest, gated));
  else for (const line of manifestLines(stored.id, stored.manifest, gated)) await out.line(line);
  return 0;
}

/** Shows a manifest. */
export const manifestCommand: Command = {
  spec: {
    name: "manifest",
    summary: "Print the newest manifest, another version, or the list of versions",
    details: READER_NOTE,
    positions: [LOCATION_POSITION],
    flags: [
      { name: "id", kind: "count", value: "N", about: "That version instead of the newest" },
      { name: "all", kind: "switch", about: "List the versions that are stored" },
      JSON_FLAG,
      ...LOCATION_FLAGS,
    ],
    examples: ["phyllite manifest ./data", "phyllite manifest ./data --all"],
  },
  run: runManifest,
};
