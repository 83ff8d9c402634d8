/**
 * The demo's second half: reads, scans in both directions, a snapshot, a database of the official engine, the figures.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { Buffer } from "node:buffer";
import { existsSync } from "node:fs";
import { cp, readFile } from "node:fs/promises";
import { join } from "node:path";
import { toHex } from "../../bytes/hex.ts";
import { type CostReport, type Db, type Entry, NOT_CACHED, type TableShape } from "../../db/api.ts";
import { costReport } from "../../db/cost.ts";
import { PRICE_SHEETS } from "../../db/price_sheets.ts";
import { open } from "../../db/promise_open.ts";
import { lineBytes, shorten, textOf, utf8 } from "../bytes_text.ts";
import type { TreeFile } from "../file_tree.ts";
import { contentsOf } from "../import_sources.ts";
import { mergeOperatorNamed } from "../merge_operators.ts";
import { costLines } from "../stats_command.ts";
import { columns, countText, dollarText, plural, sizeText } from "../text_layout.ts";
import type { DemoStage } from "./crash_chapters.ts";
import { repositoryRoot } from "./demo_plan.ts";

/** Rows of an official database that are printed. */
const ROWS_SHOWN = 6;
/** Keys shown of each direction of the scan. */
const KEYS_SHOWN = 3;

/** Databases of the official engine: folder below `tests/fixtures/slatedb-0.12.1`, what it shows, its merge operator. */
const OFFICIAL: ReadonlyArray<readonly [name: string, about: string, merge: string | undefined]> = [
  ["merges-l0", "L0 tables and a log with merge operands, folded here by concatenation", "concat"],
  ["compacted-small", "a sorted run made by its compactor, and L0 tables on top", undefined],
];

/** Files that say something in their first line. */
const READABLE = /(?:^|\/)(?:readme|license|changelog|package\.json)[^/]*$|\.(?:md|txt)$/i;

/** Three files to show: such as can be read, if there are any. */
function filesToShow(files: readonly TreeFile[]): TreeFile[] {
  const readable = files.filter((file) => READABLE.test(file.name));
  const choice = readable.length >= 3 ? readable : files;
  return [0, 0.5, 1].map((share) => choice[Math.floor(share * (choice.length - 1))]!);
}

/** Gets a few files. */
export async function readSome(stage: DemoStage, db: Db): Promise<void> {
  const { plan, story } = stage;
  await story.chapter("Read");
  const rows: string[][] = [];
  let right = true;
  const files = filesToShow(plan.files);
  for (const file of files) {
    const value = await db.get(file.name);
    right &&= value !== undefined && Buffer.compare(value, await contentsOf(file.path)) === 0;
    rows.push([
      file.name.length > 56 ? `…${file.name.slice(-55)}` : file.name,
      sizeText(value?.length ?? 0),
      beginning(value),
    ]);
  }
  for (const line of columns([["get", "size", "begins with"], ...rows])) await story.say(line);
  await story.check("three gets gave the files' bytes", right);
  const cached = db.getCached(files[1]!.name);
  await story.check(
    "the second get of one needs no I/O: getCached answers at once",
    cached !== NOT_CACHED && cached !== undefined,
  );
}

/** The first words of a value. */
function beginning(value: Uint8Array | undefined): string {
  const text = value === undefined ? undefined : textOf(value);
  if (text === undefined) return value === undefined ? "-" : shorten(`hex:${toHex(value.subarray(0, 12))}`, 36);
  const line = text.split("\n").find((candidate) => candidate.trim().length > 3) ?? "";
  return shorten(lineBytes(utf8(line.trim())), 44);
}

/** The folder of the tree to scan: the first with a handful of files, else everything. */
function scanPrefix(names: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const name of names) {
    const slash = name.lastIndexOf("/");
    if (slash < 0) continue;
    const prefix = name.slice(0, slash + 1);
    counts.set(prefix, (counts.get(prefix) ?? 0) + 1);
  }
  const fitting = [...counts].filter(([, count]) => count >= 4 && count <= 40);
  return fitting[Math.floor(fitting.length / 2)]?.[0] ?? "";
}

/** Scans a prefix in both directions. */
export async function scanBothWays(stage: DemoStage, db: Db): Promise<void> {
  const { plan, story } = stage;
  await story.chapter("Scan a prefix, forwards and backwards");
  const prefix = scanPrefix(plan.files.map((file) => file.name));
  const names = async (order: "ascending" | "descending") => {
    const found: string[] = [];
    for await (const key of db.scan({ prefix }, { order }).keys()) found.push(textOf(key)!);
    return found;
  };
  const up = await names("ascending");
  const down = await names("descending");
  const expected = plan.files.map((file) => file.name).filter((name) => name.startsWith(prefix));
  await story.say(`prefix ${prefix === "" ? "(none: all keys)" : prefix}: ${plural(up.length, "key")}`);
  const shown = (keys: readonly string[]) =>
    keys.slice(0, KEYS_SHOWN).map((key) => shorten(key.slice(prefix.length), 40)).join(", ") +
    (keys.length > KEYS_SHOWN ? ", …" : "");
  await story.say(`ascending:  ${shown(up)}`);
  await story.say(`descending: ${shown(down)}`);
  await story.check(
    "both directions give the folder's files, one the reverse of the other",
    up.join("\n") === expected.join("\n") && down.toReversed().join("\n") === expected.join("\n"),
  );
}

/** Takes a snapshot and overwrites a file under it. */
export async function snapshotAndOverwrite(stage: DemoStage, db: Db): Promise<void> {
  const { plan, story } = stage;
  await story.chapter("A snapshot, and an overwrite under it");
  const file = plan.files[Math.floor(plan.files.length / 3)]!;
  const original = await contentsOf(file.path);
  const snapshot = await db.snapshot();
  await db.put(file.name, "overwritten while the snapshot looks on");
  const now = await db.get(file.name);
  const then = await snapshot.get(file.name);
  await story.say(`key:      ${file.name}`);
  await story.say(`database: ${beginning(now)}`);
  await story.say(`snapshot: ${beginning(then)} (as of sequence number ${snapshot.seq})`);
  await story.check(
    "the database shows the new value, the snapshot the old bytes",
    textOf(now ?? new Uint8Array(0)) === "overwritten while the snapshot looks on" && then !== undefined &&
      Buffer.compare(then, original) === 0,
  );
  snapshot.release();
  await db.put(file.name, original);
}

/** What the official engine answers for one of its databases. */
interface OfficialAnswers {
  readonly scan: ReadonlyArray<{ key: string; value: string | { len: number; sha256: string }; seq: string }>;
}

/** Opens copies of databases that the official engine wrote. */
export async function openOfficial(stage: DemoStage, scratch: string): Promise<void> {
  const { story } = stage;
  await story.chapter("Open databases written by SlateDB 0.12.1 itself");
  const root = repositoryRoot();
  const fixtures = root === undefined ? undefined : join(root, "tests", "fixtures", "slatedb-0.12.1");
  if (fixtures === undefined || !existsSync(fixtures)) {
    await story.say("Left out: these databases come with the repository, and this is an installed package.");
    story.figures["official"] = "left out";
    return;
  }
  for (const [name, about, merge] of OFFICIAL) {
    const copy = join(scratch, name);
    await cp(join(fixtures, name, "db"), copy, { recursive: true });
    const answers = JSON.parse(await readFile(join(fixtures, name, "expected.json"), "utf8")) as OfficialAnswers;
    const operator = mergeOperatorNamed(merge);
    const db = await open(copy, operator === undefined ? {} : { mergeOperator: operator });
    const rows = await db.scan().toArray();
    await db.close();
    await story.say(`${name}: ${about}`);
    for (const row of rows.slice(0, ROWS_SHOWN)) {
      await story.say(`  ${lineBytes(row.key)} = ${shorten(lineBytes(row.value), 48)}`);
    }
    if (rows.length > ROWS_SHOWN) await story.say(`  … and ${rows.length - ROWS_SHOWN} more`);
    const same = rows.length === answers.scan.length && rows.every((row, i) => agrees(row, answers.scan[i]!));
    await story.check(`${plural(rows.length, "row")}, equal to what SlateDB answers for this database`, same);
  }
}

function agrees(row: Entry, answer: OfficialAnswers["scan"][number]): boolean {
  const { value } = answer;
  const sameValue = typeof value === "string"
    ? toHex(row.value) === value
    : row.value.length === value.len && createHash("sha256").update(row.value).digest("hex") === value.sha256;
  return toHex(row.key) === answer.key && sameValue && String(row.seq) === answer.seq;
}

/** The shape of the tree, and what the requests would cost. */
export async function figures(stage: DemoStage, db: Db, before: CostReport | undefined): Promise<void> {
  const { story } = stage;
  await story.chapter("The LSM tree, and what it would have cost on object storage");
  const shape = await db.tables();
  const tables: TableShape[] = [...shape.l0, ...shape.runs.flatMap((run) => run.tables)];
  const line = (table: TableShape) => [
    table.level === "L0" ? "L0" : `run ${table.level}`,
    sizeText(table.bytes),
    countText(table.entries),
    table.filterPresent ? "yes" : "no",
    shorten(table.firstKey === undefined ? "-" : lineBytes(table.firstKey), 28),
    shorten(table.lastKey === undefined ? "-" : lineBytes(table.lastKey), 28),
  ];
  const head = ["level", "size", "rows", "filter", "first key", "last key"];
  for (const text of columns([head, ...tables.map(line)])) await story.say(text);
  const bytes = tables.reduce((sum, table) => sum + table.bytes, 0);
  await story.say(`${plural(tables.length, "table")}, ${sizeText(bytes)}; memtable ${sizeText(shape.memtableBytes)}`);
  for (const warning of db.status.warnings) await story.say(`note: ${warning}`);
  await story.say("");
  const cost = before === undefined ? db.cost() : costReport([before, db.cost()]);
  await story.say("Requests of both processes (of the one that died: up to its last acknowledgement):");
  for (const text of costLines(cost)) await story.say(text);
  await story.say("Prices, for requests and bytes moved:");
  for (const sheet of PRICE_SHEETS) await story.say(`  ${sheet.name}: ${sheet.source}`);
  story.figures["tables"] = tables.map(({ level, id, bytes, entries }) => ({ level, id, bytes, entries }));
  story.figures["requests"] = cost.requests;
  story.figures["dollars"] = cost.dollars;
  const dearest = Math.max(...Object.values(cost.dollars));
  await story.check(
    `the requests are counted and priced: ${dollarText(dearest)} at most`,
    tables.length > 0 && dearest > 0,
  );
}
