import { InvalidArgument } from "../../src/errors.ts";
import { mintUuid, seededIds } from "../../src/env/ids.ts";
import { isUuid } from "../../src/format/ulid.ts";
import type { Manifest } from "../../src/format/types.ts";
import {
  addCheckpoint,
  addCheckpointFrom,
  coveringWal,
  isExpired,
  refreshCheckpoint,
  removeCheckpoint,
  removeExpired,
} from "../../src/state/checkpoint_edits.ts";
import { emptyManifest, type ManifestEdit } from "../../src/state/manifest_edits.ts";
import { assertSuccessor } from "../../src/state/manifest_invariants.ts";
import { assert, describe, it } from "../support/suite.ts";

const ID = (n: number): string => `00000000-0000-4000-8000-${String(n).padStart(12, "0")}`;
const made = (n: number, lifetimeMillis = Infinity, nowMillis = 1_500) => ({ id: ID(n), nowMillis, lifetimeMillis });
const applied = (edit: ManifestEdit<InvalidArgument>, current: Manifest, id: number): Manifest => {
  const next = edit(current, id);
  assert.ok(next !== undefined && !(next instanceof Error), String(next));
  assertSuccessor(current, next, "admin");
  return next;
};
const refused = (edit: ManifestEdit<InvalidArgument>, current: Manifest): void => {
  const answer = edit(current, 9);
  assert.ok(answer instanceof InvalidArgument && answer.reason === "checkpoint-missing");
};
const empty = emptyManifest(false);

describe("addCheckpoint", () => {
  it("addCheckpoint pins the version that contains it, with times in whole seconds that never end too early", () => {
    const [one] = applied(addCheckpoint({ ...made(1, 2_000), name: "nightly" }), empty, 6).checkpoints;
    assert.deepEqual(one, {
      id: ID(1),
      manifestId: 7,
      createTimeSeconds: 1,
      expireTimeSeconds: 4,
      name: "nightly",
      writerEpoch: undefined,
    });
    assert.equal(applied(addCheckpoint(made(2)), empty, 1).checkpoints[0]!.expireTimeSeconds, 0, "0 is never");
  });

  it("addCheckpoint finds its own result and does nothing", () => {
    const once = applied(addCheckpoint(made(1)), empty, 1);
    assert.equal(addCheckpoint(made(1))(once, 2), undefined);
    const replaced = applied(addCheckpoint(made(2), ID(1)), once, 2);
    assert.deepEqual(replaced.checkpoints.map((one) => [one.id, one.manifestId]), [[ID(2), 3]]);
  });

  it("addCheckpointFrom pins what its source pins and outlives it", () => {
    const source = applied(addCheckpoint(made(1, 2_000)), empty, 4);
    const both = applied(addCheckpointFrom(made(2), ID(1)), source, 8);
    assert.deepEqual(both.checkpoints.map((one) => one.manifestId), [5, 5]);
    const later = applied(removeExpired(9_000), both, 9);
    assert.deepEqual(later.checkpoints.map((one) => one.id), [ID(2)]);
    assert.equal(addCheckpointFrom(made(2), ID(1))(later, 9), undefined, "made already, the source may be gone");
    refused(addCheckpointFrom(made(3), ID(1)), later);
    refused(addCheckpointFrom(made(3, Infinity, 4_000), ID(1)), both);
  });
});

describe("refreshCheckpoint", () => {
  it("refreshCheckpoint moves the end, and refuses what is gone or has ended", () => {
    const once = applied(addCheckpoint(made(1, 2_000)), empty, 1);
    const moved = applied(refreshCheckpoint(ID(1), 3_000, 10_000), once, 2);
    assert.equal(moved.checkpoints[0]!.expireTimeSeconds, 13);
    assert.equal(refreshCheckpoint(ID(1), 3_000, 10_000)(moved, 3), undefined);
    assert.equal(applied(refreshCheckpoint(ID(1), 3_000, Infinity), once, 2).checkpoints[0]!.expireTimeSeconds, 0);
    refused(refreshCheckpoint(ID(2), 3_000, 10_000), once);
    refused(refreshCheckpoint(ID(1), 4_000, 10_000), once);
    assert.equal(isExpired(once.checkpoints[0]!, 3_999), false);
    assert.equal(isExpired(once.checkpoints[0]!, 4_000), true);
  });
});

describe("removeCheckpoint", () => {
  it("removeCheckpoint and removeExpired take away what they mean and nothing else", () => {
    let manifest = empty;
    for (const [n, lifetime] of [[1, Infinity], [2, 2_000], [3, 60_000]] as const) {
      manifest = applied(addCheckpoint(made(n, lifetime)), manifest, n);
    }
    assert.deepEqual(applied(removeCheckpoint(ID(1)), manifest, 4).checkpoints.map((one) => one.id), [ID(2), ID(3)]);
    assert.equal(removeCheckpoint(ID(7))(manifest, 4), undefined);
    assert.equal(removeExpired(3_999)(manifest, 4), undefined);
    assert.deepEqual(applied(removeExpired(4_000), manifest, 4).checkpoints.map((one) => one.id), [ID(1), ID(3)]);
  });
});

describe("coveringWal", () => {
  it("coveringWal raises the newest WAL id with the edit, never lowers it, and passes refusals on", () => {
    let stored = 5;
    const edit = coveringWal(addCheckpoint(made(1)), () => stored);
    assert.equal((edit(empty, 1) as Manifest).walIdLastSeen, 5);
    stored = 6;
    assert.equal((edit(empty, 1) as Manifest).walIdLastSeen, 6, "what is stored at the moment of the commit");
    assert.equal((edit({ ...empty, walIdLastSeen: 9 }, 1) as Manifest).walIdLastSeen, 9);
    assert.equal(edit(edit(empty, 1) as Manifest, 2), undefined);
    refused(coveringWal(addCheckpointFrom(made(2), ID(1)), () => 5), empty);
    assert.throws(() => assertSuccessor(empty, edit(empty, 1) as Manifest, "admin"), /M6/);
  });
});

describe("mintUuid", () => {
  it("mintUuid makes version 4 UUIDs and leaves the random bytes alone", () => {
    const ids = seededIds(7);
    const bytes = new Uint8Array(16).fill(0xff);
    assert.equal(mintUuid({ randomBytes: () => bytes }), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    assert.equal(bytes[6], 0xff);
    const some = new Set(Array.from({ length: 100 }, () => mintUuid(ids)));
    assert.equal(some.size, 100);
    for (const id of some) assert.ok(isUuid(id) && /^.{14}4.{4}[89ab]/.test(id), id);
  });
});
