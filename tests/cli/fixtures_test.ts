/**
 * The reading commands over every database that the official engine wrote: its own answers, and not one byte written.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { Buffer } from "node:buffer";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type JsonBytes, parseJsonBytes } from "../../src/cli/bytes_text.ts";
import { canUseDisk } from "../support/permissions.ts";
import { repositoryPath, sharedPath } from "../support/shared.ts";
import { assert, describe, it } from "../support/suite.ts";
import { cli, jsonLines } from "./memory_io.ts";

interface ExpectedRow {
  readonly key: string;
  readonly value: string | { readonly len: number; readonly sha256: string } | null;
  readonly seq: string;
  readonly create_ts: string;
  readonly expire_ts: string | null;
  readonly kind?: "Value" | "Tombstone" | "Merge";
}

interface Expected {
  readonly db_path: string;
  readonly merge_operator: string | null;
  readonly wal_store_root?: string;
  readonly scan: readonly ExpectedRow[];
  readonly gets?: ReadonlyArray<{ readonly key: string; readonly row: ExpectedRow | null }>;
  readonly ranges?: ReadonlyArray<
    {
      readonly start: string | null;
      readonly start_inclusive: boolean;
      readonly end: string | null;
      readonly end_inclusive: boolean;
      readonly keys: readonly string[];
    }
  >;
  readonly wal?: ReadonlyArray<{ readonly id: string; readonly rows: readonly ExpectedRow[] }>;
}

interface Row {
  readonly key: JsonBytes;
  readonly value?: JsonBytes | null;
  readonly seq: number;
  readonly createdAt?: number;
  readonly expiresAt?: number;
  readonly kind?: string;
}

const KINDS = { Value: "put", Tombstone: "delete", Merge: "merge" };
const hexOf = (value: JsonBytes): string => Buffer.from(parseJsonBytes(value, "it")).toString("hex");

function agrees(row: Row, expected: ExpectedRow): void {
  assert.equal(hexOf(row.key), expected.key);
  if (expected.kind !== undefined) assert.equal(row.kind, KINDS[expected.kind]);
  if (expected.kind === "Tombstone") {
    assert.equal(row.value, undefined);
  } else if (typeof expected.value === "string") {
    assert.equal(hexOf(row.value!), expected.value);
  } else {
    const bytes = parseJsonBytes(row.value, "it");
    assert.equal(bytes.length, expected.value!.len);
    assert.equal(createHash("sha256").update(bytes).digest("hex"), expected.value!.sha256);
  }
  assert.equal(String(row.seq), expected.seq);
  assert.equal(String(row.createdAt), expected.create_ts);
  assert.equal(row.expiresAt === undefined ? null : String(row.expiresAt), expected.expire_ts);
}

/** Everything below a folder, as one hash. */
function fingerprint(folder: string): string {
  const hash = createHash("sha256");
  for (const path of readdirSync(folder, { recursive: true, encoding: "utf8" }).sort()) {
    hash.update(`${path}\n`);
    if (/\.\w+$/.test(path)) hash.update(readFileSync(join(folder, path)));
  }
  return hash.digest("hex");
}

/** Arguments that name a case's database and how to read it. */
function placeArguments(folder: string, expected: Expected): { readonly place: string[]; readonly reading: string[] } {
  const wal = expected.wal_store_root === undefined ? [] : ["--wal-location", join(folder, expected.wal_store_root)];
  const place = [folder, "--path", expected.db_path, ...wal];
  const merge = expected.merge_operator === null ? [] : ["--merge", "concat"];
  return { place, reading: [...place, "--ttl", "slatedb", ...merge] };
}

async function checkRows(expected: Expected, reading: readonly string[]): Promise<void> {
  for (const reverse of [false, true]) {
    const { code, out, err } = await cli(["scan", ...reading, "--json", ...(reverse ? ["--reverse"] : [])]);
    assert.deepEqual([code, err], [0, ""]);
    const rows = jsonLines(out) as unknown as Row[];
    if (reverse) rows.reverse();
    assert.equal(rows.length, expected.scan.length);
    rows.forEach((row, i) => agrees(row, expected.scan[i]!));
  }
  for (const { key, row } of (expected.gets ?? []).slice(0, 12)) {
    const { code, out } = await cli(["get", ...reading, "--json", "--", `hex:${key}`]);
    assert.equal(code, row === null ? 1 : 0);
    const found = jsonLines(out)[0] as unknown as Row;
    if (row === null) assert.equal(found.value, null);
    else agrees(found, row);
  }
  for (const range of (expected.ranges ?? []).slice(0, 4)) {
    const lower = range.start === null ? [] : [range.start_inclusive ? "--gte" : "--gt", `hex:${range.start}`];
    const upper = range.end === null ? [] : [range.end_inclusive ? "--lte" : "--lt", `hex:${range.end}`];
    const { out } = await cli(["scan", ...reading, ...lower, ...upper, "--keys", "--json"]);
    assert.deepEqual((jsonLines(out) as unknown as Row[]).map((row) => hexOf(row.key)), range.keys);
  }
}

async function checkObjects(expected: Expected, place: readonly string[], reading: readonly string[]): Promise<void> {
  for (const { id, rows } of expected.wal ?? []) {
    const { code, out } = await cli(["wal", ...place, id, "--json"]);
    assert.equal(code, 0);
    const found = jsonLines(out) as unknown as Row[];
    assert.equal(found.length, rows.length);
    found.forEach((row, i) => agrees(row, rows[i]!));
  }
  const listed = jsonLines((await cli(["wal", ...place, "--json"])).out);
  if (expected.wal !== undefined) {
    assert.deepEqual(listed.map(({ id, rows }) => [String(id), rows]), expected.wal.map((w) => [w.id, w.rows.length]));
  }
  const tables = await cli(["sst", ...place, "--json"]);
  assert.deepEqual([tables.code, tables.err], [0, ""]);
  const stats = jsonLines((await cli(["stats", ...reading, "--count", "--json"])).out)[0]!;
  assert.equal(stats["keys"], expected.scan.length);
  const named = stats["tables"] as Array<{ id: string; rows: number | null }>;
  for (const { id, rows } of named) {
    const table = jsonLines((await cli(["sst", ...place, id, "--json"])).out)[0]!;
    assert.equal(table["rows"], rows ?? table["rows"]);
    const dumped = jsonLines((await cli(["sst", ...place, id, "--rows", "--json"])).out);
    assert.equal(dumped.length, table["rows"]);
  }
  const manifest = jsonLines((await cli(["manifest", ...place, "--json"])).out)[0]!;
  assert.equal(manifest["id"], stats["manifestId"]);
  const versions = jsonLines((await cli(["manifest", ...place, "--all", "--json"])).out);
  assert.equal(versions.at(-1)!["id"], manifest["id"]);
  for (const command of ["wal", "sst", "manifest"]) {
    assert.equal((await cli([command, ...place])).code, 0);
  }
  assert.equal((await cli(["stats", ...reading])).code, 0);
}

/** One test per case below `root`. */
function checkCases(root: string): void {
  for (const set of ["slatedb-0.12.1", "slatedb-0.12.1-handmade"]) {
    for (const name of readdirSync(join(root, set))) {
      const folder = join(root, set, name);
      const answers = join(folder, "expected.json");
      if (!existsSync(answers)) continue;
      it(`commands read ${set}/${name} and write nothing`, async () => {
        const expected = JSON.parse(readFileSync(answers, "utf8")) as Expected;
        const { place, reading } = placeArguments(folder, expected);
        const before = fingerprint(folder);
        await checkRows(expected, reading);
        await checkObjects(expected, place, reading);
        assert.equal(fingerprint(folder), before);
      });
    }
  }
}

describe("commands over committed databases", { skip: canUseDisk() ? false : "needs to read files" }, () => {
  if (canUseDisk()) checkCases(repositoryPath("tests/fixtures"));
  else it("commands read the committed databases", () => {});
});

const shared = sharedPath("fixtures");
const without = shared === undefined ? "left out: shared/fixtures does not lie beside the checkout" : false;
describe("commands over all databases", { skip: without }, () => {
  if (shared !== undefined) checkCases(shared);
  else it("commands read the larger set", () => {});
});
