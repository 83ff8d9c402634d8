/**
 * What readers in other processes ask because there are writes: each object of the log, each version of the manifest.
 *
 * @module
 */
import type { StoreUsage } from "./cost_api.ts";
import { manifestBytes, type PartWorld, type RawPart } from "./cost_plan_parts.ts";
import type { ResolvedPlan } from "./cost_plan_settings.ts";
import { NO_USAGE } from "./price_sheets.ts";

/** Objects of the log that a reader asks for at once, growing, and in one batch. */
const WIDTHS: ReadonlyArray<number> = [1, 1, 2, 4, 8];
const BATCH_OBJECTS = 64;

/** GETs of a look that finds `objects` new ones, and the batches that these come in. */
function asked(objects: number): { readonly gets: number; readonly batches: number } {
  const batches = Math.floor(objects / BATCH_OBJECTS) + 1;
  const rest = objects % BATCH_OBJECTS;
  let gets = 0;
  for (let step = 0; gets <= rest && gets < BATCH_OBJECTS; step++) {
    gets += Math.min(WIDTHS[Math.min(step, WIDTHS.length - 1)]!, BATCH_OBJECTS - gets);
  }
  return { gets: (batches - 1) * BATCH_OBJECTS + gets, batches };
}

/** One kind of reader: what it asks beyond the looks of a quiet hour. */
export function readerPart(world: PartWorld, { options, count }: ResolvedPlan["readers"][number]): RawPart {
  const { plan, seconds, walPuts, walObjectBytes, tables: { costs: { flushes, jobs } } } = world;
  const { mode, manifestPollIntervalMillis, skipWalReplay } = options;
  const looks = seconds * 1000 / manifestPollIntervalMillis;
  const perLook = looks === 0 ? 0 : walPuts / looks;
  const below = asked(Math.floor(perLook));
  const above = asked(Math.floor(perLook) + 1);
  const part = perLook - Math.floor(perLook);
  const hasLog = plan.wal !== false && !skipWalReplay;
  // A quiet look asks for one object already, and for one version.
  const logGets = hasLog ? looks * (below.gets * (1 - part) + above.gets * part - 1) : 0;
  const batches = hasLog ? looks * (below.batches * (1 - part) + above.batches * part - 1) : 0;
  const versions = flushes + jobs;
  const pins = mode === "managed" ? Math.min(looks, versions) : 0;
  const log: StoreUsage = {
    ...NO_USAGE,
    gets: count * logGets,
    bytesRead: hasLog ? count * walPuts * walObjectBytes : 0,
  };
  const main: StoreUsage = {
    ...NO_USAGE,
    gets: count * (versions + batches),
    puts: count * pins,
    bytesRead: count * versions * manifestBytes(world),
    bytesWritten: count * pins * manifestBytes(world),
  };
  return {
    name: `${count} ${mode === "follow" ? "following" : "managed"} reader${count === 1 ? "" : "s"}`,
    formula: `every object of the log and every version of the manifest, once for each; ${
      pins > 0 ? "a PUT that keeps its tables per look that meets new ones" : "no PUTs"
    }`,
    usage: plan.wal === "apart"
      ? { main, wal: log }
      : { main: { ...main, gets: main.gets + log.gets, bytesRead: main.bytesRead + log.bytesRead } },
  };
}
