import { createHash } from "node:crypto";
import { changes } from "../../mod.ts";
import { DataError } from "../../src/errors.ts";
import { type MemoryStore, memoryStore } from "../../src/store/memory_store.ts";
import { type Expected, filesOf, type FixtureCase, fixtureCases, leftOut } from "../format/fixture_files.ts";
import { hex } from "../support/bytes.ts";
import { canUseDisk } from "../support/permissions.ts";
import { assert, describe, it } from "../support/suite.ts";

interface ExpectedRow {
  readonly kind: "Value" | "Tombstone" | "Merge";
  readonly key: string;
  readonly value: string | { readonly len: number; readonly sha256: string } | null;
  readonly seq: string;
  readonly create_ts: string;
  readonly expire_ts: string | null;
}

interface WalExpected extends Expected {
  readonly db_path: string;
  readonly wal?: ReadonlyArray<{ readonly id: string; readonly rows: readonly ExpectedRow[] }>;
}

const KINDS = { Value: "put", Tombstone: "delete", Merge: "merge" } as const;

/** The objects of a case below one of its folders, in a memory store. */
function loaded(fixture: FixtureCase, folder: string): MemoryStore {
  const store = memoryStore();
  for (const { path, bytes } of [".sst", ".manifest"].flatMap((ending) => filesOf(fixture, ending))) {
    const below = folder === "." ? path : path.startsWith(`${folder}/`) ? path.slice(folder.length + 1) : undefined;
    if (below !== undefined) store.plant(below, bytes);
  }
  return store;
}

/** A row as the official engine's answers write it; long values by length and hash. */
function row(kind: string, key: string, value: string, seq: number, createdAt: number, expiresAt: number | null) {
  return { kind, key, value, seq, createdAt, expiresAt };
}

function expectedRow({ kind, key, value, seq, create_ts, expire_ts }: ExpectedRow) {
  const shown = value === null ? "" : typeof value === "string" ? value : `${value.len} ${value.sha256}`;
  return row(KINDS[kind], key, shown, Number(seq), Number(create_ts), expire_ts === null ? null : Number(expire_ts));
}

async function readFrom(store: MemoryStore, path: string, wal: MemoryStore | undefined, fromSeq: number) {
  const rows = [];
  const options = { fromSeq, follow: false, ...(wal === undefined ? {} : { wal: { store: wal } }) };
  for await (const change of changes({ store, path }, options)) {
    assert.ok(change.kind !== "deleteRange", "SlateDB deletes no ranges");
    const { kind, key, value, seq, createdAt, expiresAt } = change;
    const shown = value.length <= 128
      ? hex(value)
      : `${value.length} ${createHash("sha256").update(value).digest("hex")}`;
    rows.push(row(kind, hex(key), shown, seq, createdAt, expiresAt ?? null));
  }
  return rows;
}

describe("changes of the databases that the official engine wrote", () => {
  for (const source of ["committed", "shared"] as const) {
    const skip = source === "committed" ? !canUseDisk() : leftOut() ?? false;
    it(`${source}: all rows of all WAL objects, in order`, { skip }, async () => {
      let read = 0;
      for (const fixture of fixtureCases(source)) {
        const { wal: objects, wal_store_root: walRoot, db_path: path } = fixture.expected as WalExpected;
        if (objects === undefined || objects.length === 0) continue;
        const store = loaded(fixture, ".");
        const wal = walRoot === undefined ? undefined : loaded(fixture, walRoot);
        const expected = objects.flatMap(({ rows }) => rows.map(expectedRow));
        const first = expected[0]?.seq ?? 1;
        assert.deepEqual(await readFrom(store, path, wal, first), expected, fixture.name);
        for (let i = 1; i < expected.length; i += 1 + Math.floor(expected.length / 5)) {
          const { seq } = expected[i]!;
          assert.deepEqual(await readFrom(store, path, wal, seq), expected.filter((each) => each.seq >= seq));
        }
        read++;
      }
      assert.ok(read >= (source === "shared" ? 20 : 1), `${read} databases`);
    });
  }

  it("one without a log is answered with gone", { skip: !canUseDisk() }, async () => {
    const fixture = fixtureCases("committed").find(({ name }) => name === "wal-disabled")!;
    const store = loaded(fixture, ".");
    await assert.rejects(
      readFrom(store, "db", undefined, 1),
      (error) => error instanceof DataError && error.reason === "gone" && error.oldestSeq! > 1,
    );
  });
});
