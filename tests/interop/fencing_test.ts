/**
 * Who opens a database fences whoever had it open, whichever engine either of them is; nothing acknowledged is lost.
 *
 * @module
 */
import { officialMissing, openOfficial, type Writer } from "../support/interop_official.ts";
import { newestManifest, openOurs, type OursWriter, ourWal, type Place, withPlace } from "../support/interop_ours.ts";
import { Closed } from "../../src/errors.ts";
import { assert, describe, it } from "../support/suite.ts";

const skip = officialMissing();

async function keysOf(writer: Writer): Promise<string[]> {
  return (await writer.rows()).map((row) => Buffer.from(row.key, "hex").toString());
}

/** The error of a write that must not be acknowledged. */
async function refused(write: Promise<unknown>): Promise<unknown> {
  let outcome: unknown = "acknowledged";
  await write.then(() => {}, (error: unknown) => void (outcome = error));
  assert.notEqual(outcome, "acknowledged", "a fenced writer acknowledged a write");
  return outcome;
}

function assertFenced(error: unknown): void {
  assert.ok(error instanceof Closed && error.reason === "fenced", `not fenced but ${String(error)}`);
}

function assertOfficialFenced(error: unknown): void {
  const { tag, reason } = error as { tag?: string; reason?: string };
  assert.deepEqual({ tag, reason }, { tag: "Closed", reason: "Fenced" });
}

/** Opens the other engine, or the same. */
function opener(place: Place, engine: "ours" | "official"): Promise<Writer> {
  return engine === "ours" ? openOurs(place.db) : openOfficial(place.db);
}

describe("interop: fencing", { skip }, () => {
  it("ours opens while the official writer is at work: it is stopped, and what it acknowledged is there", () =>
    withPlace(async (place) => {
      const official = await openOfficial(place.db);
      for (let i = 0; i < 5; i++) await official.put(`acked ${i}`, "1");
      const ours = await openOurs(place.db);
      assertOfficialFenced(await refused(official.put("too late", "1")));
      await ours.put("mine", "1");
      assert.deepEqual(await keysOf(ours), [0, 1, 2, 3, 4].map((i) => `acked ${i}`).concat("mine"));
      assertOfficialFenced(await refused(official.put("still too late", "1")));
      await ours.close();
      const again = await openOfficial(place.db);
      assert.deepEqual(await keysOf(again), [0, 1, 2, 3, 4].map((i) => `acked ${i}`).concat("mine"));
      await again.close();
    }));

  it("the official engine opens while ours is at work: ours fails as fenced before it acknowledges anything", () =>
    withPlace(async (place) => {
      const ours: OursWriter = await openOurs(place.db);
      for (let i = 0; i < 5; i++) await ours.put(`acked ${i}`, "1");
      const unacknowledged = await ours.db.put("in memory", "1", { durable: false });
      const official = await openOfficial(place.db);
      await official.put("theirs", "1");
      const found = await keysOf(official);
      assertFenced(await refused(ours.put("too late", "1")));
      if (!found.includes("in memory")) assertFenced(await refused(unacknowledged.durable));
      assertFenced(await refused(ours.db.flush()));
      assertFenced(await refused(ours.db.get("acked 1")));
      assertFenced(await refused(ours.db.close()));
      assert.equal(ours.db.status.closeReason, "fenced");
      assert.deepEqual(await keysOf(official), found, "nothing of the fenced writer arrives later");
      assert.equal(found.filter((key) => key.startsWith("acked")).length, 5);
      await official.close();
    }));

  it("ours fails as fenced when it flushes a memtable after its takeover, and the official writer's tables stay", () =>
    withPlace(async (place) => {
      const ours = await openOurs(place.db, { durable: false, open: { flushIntervalMillis: null } });
      await ours.put("a", "1");
      await ours.flush("memtable");
      const official = await openOfficial(place.db);
      await official.put("b", "1");
      await official.flush("memtable");
      await ours.put("c", "1");
      assertFenced(await refused(ours.flush("memtable")));
      assert.deepEqual(await keysOf(official), ["a", "b"]);
      assert.equal(newestManifest(place.db).l0.length, 2);
      await official.close();
    }));

  it("an idle writer of ours notices its successor by itself when asked to poll", () =>
    withPlace(async (place) => {
      const ours = await openOurs(place.db, { open: { idlePollMillis: 20 } });
      const closed = new Promise<string | undefined>((resolve) => {
        ours.db.onStatus((status) => status.closeReason === undefined ? undefined : resolve(status.closeReason));
      });
      const official = await openOfficial(place.db);
      assert.equal(await closed, "fenced");
      await official.close();
    }));

  it("with the log off, the official writer stops ours and the other way round", () =>
    withPlace(async (place) => {
      const off = { durable: false, open: { wal: false } } as const;
      const settings = { settings: { wal_enabled: false }, durable: false };
      const first = await openOurs(place.db, off);
      await first.put("a", "1");
      await first.flush("memtable");
      const second = await openOfficial(place.db, settings);
      await first.put("lost", "1");
      assertFenced(await refused(first.flush("memtable")));
      await second.put("b", "1");
      await second.flush("memtable");
      const third = await openOurs(place.db, off);
      await second.put("lost too", "1").catch(() => 0);
      assertOfficialFenced(await refused(second.flush("memtable")));
      await third.put("c", "1");
      await third.flush("memtable");
      assert.deepEqual(await keysOf(third), ["a", "b", "c"]);
      await third.close();
    }));

  it("writers of both engines take over from each other quickly, none closing: every acknowledged row is there", () =>
    withPlace(async (place) => {
      const acknowledged: string[] = [];
      const fenced: Array<readonly ["ours" | "official", Writer]> = [];
      for (let turn = 0; turn < 10; turn++) {
        const engine = turn % 3 === 1 ? "official" : turn % 3 === 0 ? "ours" : turn % 2 === 0 ? "ours" : "official";
        const writer = await opener(place, engine);
        for (let i = 0; i < 3; i++) {
          const key = `turn ${turn} row ${i}`;
          await writer.put(key, engine);
          acknowledged.push(key);
          if (turn % 4 === 2 && i === 1) await writer.flush("memtable");
        }
        for (const [which, other] of fenced) {
          const error = await refused(other.put(`late in turn ${turn}`, "1"));
          if (which === "ours") assertFenced(error);
          else assertOfficialFenced(error);
        }
        fenced.push([engine, writer]);
      }
      const last = await openOurs(place.db);
      assert.deepEqual(await keysOf(last), acknowledged.sort());
      const rows = await last.rows();
      assert.deepEqual(
        rows.map((row) => row.seq).sort((a, b) => a - b),
        rows.map((_, i) => i + 1),
        "no gap in the sequence",
      );
      await last.close();
      for (const [, writer] of fenced) await writer.close().catch(() => {});
    }));

  it("a write that races with the takeover is either acknowledged and there, or refused", () =>
    withPlace(async (place) => {
      for (let round = 0; round < 6; round++) {
        const old = await opener(place, round % 2 === 0 ? "ours" : "official");
        await old.put(`round ${round} before`, "1");
        const outcomes = Array.from({ length: 8 }, (_, i) => {
          const key = `round ${round} write ${i}`;
          return old.put(key, "1").then(() => ({ key, acknowledged: true }), () => ({ key, acknowledged: false }));
        });
        const next = await opener(place, round % 2 === 0 ? "official" : "ours");
        const settled = await Promise.all(outcomes);
        const there = new Set(await keysOf(next));
        for (const { key, acknowledged } of settled) {
          if (acknowledged) assert.ok(there.has(key), `${key} was acknowledged and is lost`);
        }
        await next.close();
        await old.close().catch(() => {});
        assert.ok(ourWal(place.db).size > 0);
        const final = await opener(place, "ours");
        assert.deepEqual(new Set(await keysOf(final)), there, "nothing arrives after the takeover");
        assert.ok(there.has(`round ${round} before`));
        await final.close();
      }
    }));
});
