/** Every manifest and compactions object of the databases written by the official engine. @module */
import { compareBytes } from "../../src/bytes/compare.ts";
import { decodeCompactions, encodeCompactions } from "../../src/format/compactions_codec.ts";
import { type DecodedManifest, decodeManifest, encodeManifest } from "../../src/format/manifest_codec.ts";
import { parseNumberedName, parseTableName } from "../../src/format/paths.ts";
import { SequenceTracker } from "../../src/format/sequence_tracker.ts";
import { type Manifest, NO_TICK, type SstView } from "../../src/format/types.ts";
import { canUseDisk } from "../support/permissions.ts";
import { assert, describe, it } from "../support/suite.ts";
import { committedFile, filesOf, type FixtureCase, fixtureCases, type FixtureFile, leftOut } from "./fixture_files.ts";

const FOOTER_AND_CHECKSUM = 14;
/** What the larger set holds. */
const ALL = { cases: 33, manifests: 154, compactions: 21 };

interface ReadManifest extends DecodedManifest {
  readonly file: FixtureFile;
}

function viewsOf(manifest: Manifest): SstView[] {
  return [...manifest.l0, ...manifest.compacted.flatMap((run) => run.ssts)];
}

/** Version 1 has no view ids. */
function withoutViewIds(manifest: Manifest): Manifest {
  const plain = (view: SstView): SstView => ({ ...view, viewId: view.sstId });
  return {
    ...manifest,
    l0: manifest.l0.map(plain),
    compacted: manifest.compacted.map((run) => ({ ...run, ssts: run.ssts.map(plain) })),
  };
}

/** Reads all manifests of a case by folder, checking each alone. */
function readManifests(fixture: FixtureCase): ReadManifest[] {
  return filesOf(fixture, ".manifest").map((file) => {
    const decoded = decodeManifest(file.bytes);
    const where = `${fixture.name}/${file.path}`;
    const { manifest } = decoded;
    assert.equal(decoded.version, fixture.name === "manifest-v2" ? 2 : 1, where);
    const again = decodeManifest(encodeManifest(manifest));
    assert.deepEqual(again, { version: 1, manifest: withoutViewIds(manifest) }, where);
    assertShape(manifest, where);
    return { ...decoded, file };
  });
}

function assertShape(manifest: Manifest, where: string): void {
  for (let i = 1; i < manifest.compacted.length; i++) {
    assert.ok(manifest.compacted[i]!.id < manifest.compacted[i - 1]!.id, where);
  }
  for (const run of manifest.compacted) {
    for (let i = 1; i < run.ssts.length; i++) {
      const before = run.ssts[i - 1]!.info.lastEntry!;
      assert.ok(compareBytes(before, run.ssts[i]!.info.firstEntry!) <= 0, `${where}: run ${run.id} overlaps`);
    }
  }
  for (const view of viewsOf(manifest)) {
    assert.ok(view.info.firstEntry !== undefined && view.info.firstEntry.length > 0, where);
    assert.ok(compareBytes(view.info.firstEntry, view.info.lastEntry!) <= 0, where);
    assert.equal(view.info.sstType, 0, where);
    assert.equal(view.info.filterFormat, 0, where);
  }
  assert.equal(new Set(viewsOf(manifest).map((view) => view.viewId)).size, viewsOf(manifest).length, where);
  assert.ok(manifest.recentSnapshotMinSeq <= manifest.lastL0Seq, where);
  if (manifest.lastL0Seq === 0) assert.equal(manifest.lastL0ClockTick, NO_TICK, where);
  if (manifest.sequenceTracker === undefined) return;
  const tracker = SequenceTracker.decode(manifest.sequenceTracker);
  assert.deepEqual(tracker.encode(), manifest.sequenceTracker, where);
  assert.ok((tracker.points.seqs.at(-1) ?? 0) <= manifest.lastL0Seq, where);
}

/** Numbers that never go back from one version to the next. */
function assertHistory(manifests: ReadonlyArray<ReadManifest>, where: string): void {
  for (let i = 1; i < manifests.length; i++) {
    const before = manifests[i - 1]!.manifest;
    const after = manifests[i]!.manifest;
    const rising = [
      "writerEpoch",
      "compactorEpoch",
      "replayAfterWalId",
      "walIdLastSeen",
      "lastL0Seq",
      "lastL0ClockTick",
    ];
    for (const field of rising as ReadonlyArray<"writerEpoch">) assert.ok(after[field] >= before[field], where);
    assert.equal(parseNumberedName(manifests[i]!.file.path), parseNumberedName(manifests[i - 1]!.file.path)! + 1);
  }
}

/** Compares the newest manifest with what the answers say about the same database. */
function assertAnswers(fixture: FixtureCase, newest: Manifest): void {
  const { files, history, wal_store_root } = fixture.expected;
  assert.equal(newest.walObjectStoreUri, wal_store_root === undefined ? undefined : "", fixture.name);
  if (files !== undefined) {
    const sizes = new Map(files.map((file) => [parseTableName(file.path), file.size]));
    for (const view of viewsOf(newest)) {
      const size = sizes.get(view.sstId);
      assert.ok(size !== undefined, `${fixture.name}: ${view.sstId} is not among the files`);
      const { info } = view;
      assert.equal(info.filterOffset + info.filterLen, info.indexOffset);
      assert.equal(info.indexOffset + info.indexLen, info.statsOffset);
      assert.ok(info.statsOffset + info.statsLen < size - FOOTER_AND_CHECKSUM);
    }
    const wals = files.filter((file) => file.path.includes("/wal/")).map((file) => parseNumberedName(file.path)!);
    assert.ok(newest.walIdLastSeen <= Math.max(0, ...wals), fixture.name);
    assert.ok(newest.replayAfterWalId <= newest.walIdLastSeen, fixture.name);
  }
  if (history === undefined) return;
  const published = history.filter((write) => Number(write.seq) <= newest.lastL0Seq);
  const ticks = published.map((write) => Number(write.create_ts));
  if (published.some((write) => Number(write.seq) === newest.lastL0Seq)) {
    assert.equal(newest.lastL0ClockTick, Math.max(...ticks), fixture.name);
  }
}

function checkCompactions(fixture: FixtureCase): number {
  const files = filesOf(fixture, ".compactions");
  let epoch = 0;
  for (const file of files) {
    const where = `${fixture.name}/${file.path}`;
    const value = decodeCompactions(file.bytes);
    assert.deepEqual(decodeCompactions(encodeCompactions(value)), value, where);
    assert.ok(value.compactorEpoch >= epoch, where);
    epoch = value.compactorEpoch;
    const ids = value.recentCompactions.map((record) => record.id);
    assert.deepEqual(ids, [...ids].sort(), where);
    for (const record of value.recentCompactions) {
      assert.ok(record.l0ViewIds.length + record.sortedRuns.length > 0, where);
      for (const output of record.outputSsts) assert.ok(output.sstId >= record.id, `${where}: output before its job`);
    }
  }
  return files.length;
}

function checkCases(cases: ReadonlyArray<FixtureCase>): { manifests: number; compactions: number } {
  let manifests = 0;
  let compactions = 0;
  for (const fixture of cases) {
    const read = readManifests(fixture);
    manifests += read.length;
    compactions += checkCompactions(fixture);
    const folders = Map.groupBy(read, (each) => each.file.path.split("/", 1)[0]!);
    for (const [folder, versions] of folders) assertHistory(versions, `${fixture.name}/${folder}`);
    const own = folders.get("db") ?? folders.get("clone")!;
    assertAnswers(fixture, own.at(-1)!.manifest);
  }
  return { manifests, compactions };
}

function newest(fixture: string, folder: string = "db"): Manifest {
  const found = fixtureCases("committed").find((each) => each.name === fixture)!;
  const files = filesOf(found, ".manifest").filter((file) => file.path.startsWith(`${folder}/`));
  return decodeManifest(files.at(-1)!.bytes).manifest;
}

const skip = canUseDisk() ? false : "needs permission to read files";

describe("control objects of the official engine", () => {
  it(
    "every committed manifest and compactions object decodes, agrees with the answers and comes back",
    { skip },
    () => {
      const counts = checkCases(fixtureCases("committed"));
      assert.ok(counts.manifests >= 60, `${counts.manifests} manifests`);
      assert.ok(counts.compactions >= 6, `${counts.compactions} compactions objects`);
    },
  );

  const absent = leftOut();
  it("every manifest and compactions object of the larger set does too", { skip: absent ?? false }, () => {
    const cases = fixtureCases("shared");
    assert.deepEqual({ cases: cases.length, ...checkCases(cases) }, ALL);
  });

  it("encodeManifest does not write larger objects than the official engine by more than padding", { skip }, () => {
    for (const fixture of fixtureCases("committed")) {
      for (const file of filesOf(fixture, ".manifest")) {
        if (file.bytes[1] !== 1) continue;
        const { manifest } = decodeManifest(file.bytes);
        const written = encodeManifest(manifest).length;
        const padding = 32 * (1 + viewsOf(manifest).length + manifest.checkpoints.length);
        assert.ok(written <= file.bytes.length + padding, `${fixture.name}/${file.path}: ${written}`);
      }
    }
  });

  it("the visible range of a hand-made database is read", { skip }, () => {
    const text = (key: string) => new TextEncoder().encode(key);
    const [view] = viewsOf(newest("visible-range"));
    assert.deepEqual(view!.visibleRange, {
      start: { key: text("k0005"), inclusive: true },
      end: { key: text("k0010"), inclusive: false },
    });
  });

  it("SST format versions are read, also the absent one", { skip }, () => {
    assert.equal(viewsOf(newest("sst-v1"))[0]!.formatVersion, 1);
    assert.equal(viewsOf(newest("sst-v1-implicit"))[0]!.formatVersion, 1);
    assert.equal(viewsOf(newest("tiny-l0"))[0]!.formatVersion, 2);
  });

  it("sorted runs of a hand-made database come newest first", { skip }, () => {
    const manifest = newest("runs");
    assert.deepEqual(manifest.compacted.map((run) => [run.id, run.ssts.length]), [[7, 2], [3, 1]]);
    assert.equal(manifest.l0.length, 1);
  });

  it("external databases and named checkpoints of a clone and its parent are read", { skip }, () => {
    const clone = newest("clone", "clone");
    const parent = newest("clone", "parent");
    const [external] = clone.externalDbs;
    assert.equal(external!.path, "parent");
    const own = new Set(clone.l0.map((view) => view.sstId));
    assert.ok(external!.sstIds.length > 0 && external!.sstIds.every((id) => own.has(id)));
    const checkpoint = parent.checkpoints.find((record) => record.id === external!.sourceCheckpointId);
    assert.equal(checkpoint?.manifestId, 1);
    assert.equal(checkpoint?.expireTimeSeconds, 0);
    assert.ok(checkpoint?.name !== undefined);
  });

  it("a reader's checkpoint is read with its times", { skip }, () => {
    const records = newest("checkpoint").checkpoints;
    assert.ok(records.length > 0);
    for (const record of records) {
      assert.ok(record.createTimeSeconds > 1_790_000_000 && record.expireTimeSeconds >= record.createTimeSeconds);
      assert.equal(record.writerEpoch, undefined);
    }
  });

  it("a new database's first manifest holds nothing but an empty tracker", { skip }, () => {
    const path = "slatedb-0.12.1/empty-db/db/manifest/00000000000000000001.manifest";
    const { manifest } = decodeManifest(committedFile(path));
    assert.equal(manifest.lastL0ClockTick, NO_TICK);
    assert.equal(manifest.initialized, true);
    assert.deepEqual(viewsOf(manifest), []);
    assert.deepEqual(manifest.sequenceTracker, new SequenceTracker().encode());
  });
});
