/**
 * Readers over every database that the official engine wrote: its own answers, in each mode.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { openReader } from "../../mod.ts";
import type { DbReader } from "../../src/db/admin_api.ts";
import type { Entry } from "../../src/db/api.ts";
import { virtualClock } from "../../src/env/virtual_clock.ts";
import { type MemoryStore, memoryStore } from "../../src/store/memory_store.ts";
import { fromHex, hex } from "../support/bytes.ts";
import { canUseDisk } from "../support/permissions.ts";
import { repositoryPath, sharedPath } from "../support/shared.ts";
import { assert, describe, it } from "../support/suite.ts";

interface ExpectedRow {
  readonly key: string;
  readonly value: string | { readonly len: number; readonly sha256: string } | null;
  readonly seq: string;
  readonly create_ts: string;
  readonly expire_ts: string | null;
}

interface Expected {
  readonly db_path: string;
  readonly merge_operator: string | null;
  readonly wal_store_root?: string;
  readonly scan: readonly ExpectedRow[];
  readonly gets?: ReadonlyArray<{ readonly key: string; readonly row: ExpectedRow | null }>;
}

const appended = (_: Uint8Array, old: Uint8Array | undefined, operand: Uint8Array): Uint8Array =>
  fromHex(`${old === undefined ? "" : hex(old)}${hex(operand)}`);

/** All files below a folder, as objects in memory. */
function load(folder: string): MemoryStore {
  const store = memoryStore();
  for (const path of readdirSync(folder, { recursive: true, encoding: "utf8" })) {
    if (/\.(?:manifest|sst|compactions)$/.test(path)) {
      store.plant(path.replaceAll("\\", "/"), readFileSync(join(folder, path)));
    }
  }
  return store;
}

function agrees(entry: Entry, expected: ExpectedRow): void {
  assert.equal(hex(entry.key), expected.key);
  if (typeof expected.value === "string") {
    assert.equal(hex(entry.value), expected.value);
  } else {
    assert.equal(entry.value.length, expected.value!.len);
    assert.equal(createHash("sha256").update(entry.value).digest("hex"), expected.value!.sha256);
  }
  assert.deepEqual(
    [String(entry.seq), String(entry.createdAt), entry.expiresAt === undefined ? null : String(entry.expiresAt)],
    [expected.seq, expected.create_ts, expected.expire_ts],
  );
}

async function check(reader: DbReader, expected: Expected): Promise<void> {
  for (const order of ["ascending", "descending"] as const) {
    const rows = await reader.scan({}, { order }).toArray();
    if (order === "descending") rows.reverse();
    assert.equal(rows.length, expected.scan.length);
    rows.forEach((row, i) => agrees(row, expected.scan[i]!));
  }
  for (const { key, row } of expected.gets ?? []) {
    const entry = await reader.getEntry(fromHex(key));
    assert.equal(entry === undefined, row === null, key);
    if (row !== null) agrees(entry!, row);
  }
}

function checkCases(root: string): void {
  for (const set of ["slatedb-0.12.1", "slatedb-0.12.1-handmade"]) {
    for (const name of readdirSync(join(root, set))) {
      const folder = join(root, set, name);
      const answers = join(folder, "expected.json");
      if (!existsSync(answers)) continue;
      it(`readers of ${set}/${name} give the official answers`, async () => {
        const expected = JSON.parse(readFileSync(answers, "utf8")) as Expected;
        const store = load(folder);
        const log = expected.wal_store_root === undefined ? undefined : load(join(folder, expected.wal_store_root));
        const options = {
          // After everything the fixtures hold: a reader judges checkpoints by it.
          clock: virtualClock(1_900_000_000_000),
          ttl: "slatedb",
          ...(log === undefined ? {} : { wal: { store: log } }),
          ...(expected.merge_operator === null ? {} : { mergeOperator: appended }),
        } as const;
        const before = store.objects().length;
        for (const mode of ["follow", "managed"] as const) {
          const reader = await openReader({ store, path: expected.db_path }, { ...options, mode });
          await check(reader, expected);
          await reader.refresh();
          await check(reader, expected);
          await reader.close();
          assert.equal(store.objects().length - before, mode === "follow" ? 0 : 2, "manifests written");
        }
      });
    }
  }
}

describe("readers of committed databases", { skip: canUseDisk() ? false : "needs to read files" }, () => {
  if (canUseDisk()) checkCases(repositoryPath("tests/fixtures"));
  else it("readers of the committed databases", () => {});
});

const shared = sharedPath("fixtures");
const without = shared === undefined ? "left out: shared/fixtures does not lie beside the checkout" : false;
describe("readers of all databases", { skip: without }, () => {
  if (shared !== undefined) checkCases(shared);
  else it("readers of the larger set", () => {});
});
