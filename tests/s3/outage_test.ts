/**
 * A writer and a reader on a real server, with a proxy between that drops, delays, refuses, cuts and swallows.
 *
 * Each kind of trouble lasts half a second; `PHYLLITE_OUTAGE_SECONDS` makes it longer.
 */
import process from "node:process";
import { setTimeout as pause } from "node:timers/promises";
import { open, openReader, Unavailable } from "../../mod.ts";
import type { Db } from "../../src/db/api.ts";
import { FaultDice } from "../../src/store/faulty/fault_plan.ts";
import type { S3Place } from "../support/s3/server.ts";
import { FaultProxy, type ProxyFault, type ProxyPlan } from "../support/s3_fault_proxy.ts";
import { assert, it } from "../support/suite.ts";
import { ALL, describeOnServers, freshFolder, S3_MISSING, s3Store, storeOptions } from "./places.ts";

const SECONDS = S3_MISSING === false ? Number(process.env["PHYLLITE_OUTAGE_SECONDS"] ?? 0.5) : 0;
const decoder = new TextDecoder();

/** A fault that strikes so many of a hundred requests, of some methods or of all. */
const some = (percent: number, fault: ProxyFault, methods?: string): ProxyPlan => {
  const dice = new FaultDice(percent);
  return ({ method }) => (methods?.includes(method) ?? true) && dice.next() * 100 < percent ? fault : undefined;
};

/** A bit of everything that asks to be tried again. */
const mixed: ProxyPlan = (request) => MIXTURE.map((plan) => plan(request)).find((fault) => fault !== undefined);
const MIXTURE: readonly ProxyPlan[] = [
  some(21, { kind: "status", status: 500 }),
  some(22, { kind: "status", status: 429 }),
  some(23, { kind: "drop" }),
];

const PHASES: ReadonlyArray<readonly [what: string, plan: ProxyPlan]> = [
  ["nothing gets through", some(100, { kind: "drop" })],
  ["503 SlowDown", some(70, { kind: "status", status: 503 })],
  ["writes are done and not answered", some(60, { kind: "drop-answer" }, "PUT POST DELETE")],
  ["bodies are cut", some(60, { kind: "cut" }, "GET")],
  ["500, 429 and lost connections", mixed],
  ["no rights", some(100, { kind: "status", status: 403 })],
  ["slow", some(100, { kind: "delay", millis: 200 })],
];

/** What a writer has been told to store, and what it has acknowledged. */
class Ledger {
  readonly rows: Map<string, string> = new Map();
  readonly #pending: Array<Promise<unknown>> = [];
  #count = 0;

  put(db: Db): void {
    const n = this.#count++;
    const [key, value] = [`key ${n % 40}`, `${n} ${"x".repeat(200)}`];
    this.rows.set(key, value);
    this.#pending.push(db.put(key, value));
  }

  /** When everything is acknowledged. */
  async settled(): Promise<void> {
    await Promise.all(this.#pending.splice(0));
  }
}

async function runPhase(db: Db, reader: Awaited<ReturnType<typeof openReader>>, ledger: Ledger): Promise<void> {
  const reads: Array<Promise<unknown>> = [];
  const refused = (error: unknown) => assert.ok(error instanceof Unavailable, String(error));
  for (const end = Date.now() + SECONDS * 1000; Date.now() < end;) {
    for (let i = 0; i < 4; i++) ledger.put(db);
    reads.push(db.flush({ kind: "memtable" }));
    reads.push(reader.get("key 1").catch(refused), db.get("key 2").catch(refused), reader.refresh().catch(refused));
    await pause(60);
  }
  assert.equal(db.status.closeReason, undefined);
  reads.push(ledger.settled());
  return void (await Promise.race([Promise.all(reads), pause(0)]));
}

describeOnServers("a proxy that does everything wrong in turn", (place: S3Place) => {
  // One server is enough for a sample.
  const skip = ALL || place.kind === "rgw" ? false : "run with PHYLLITE_S3_ALL=1";
  it("loses nothing, calls nothing damaged, and is well again after each", { skip }, async () => {
    const proxy = await FaultProxy.start(place.endpoint);
    const store = s3Store({ ...storeOptions(place), endpoint: proxy.endpoint });
    const path = freshFolder();
    try {
      const settings = { requestTimeoutMillis: 5000, blockCacheBytes: 0 };
      const db = await open({ store, path }, { ...settings, l0SstSizeBytes: 4000, maxUnflushedBytes: 200_000 });
      const reader = await openReader({ store, path }, { ...settings, manifestPollIntervalMillis: 200 });
      const ledger = new Ledger();
      for (const [what, plan] of PHASES) {
        proxy.plan = plan;
        await runPhase(db, reader, ledger);
        proxy.plan = undefined;
        const healed = Date.now();
        await ledger.settled();
        await db.flush();
        assert.ok(Date.now() - healed < 4000, `${what}: took ${Date.now() - healed} ms to recover`);
        const expected = [...ledger.rows].sort(([a], [b]) => a < b ? -1 : 1);
        for (const reads of [db, reader]) {
          if (reads === reader) await reader.refresh();
          const rows = (await reads.scan().toArray()).map((
            { key, value },
          ) => [decoder.decode(key), decoder.decode(value)]);
          assert.deepEqual(rows, expected, what);
        }
        assert.deepEqual([db.status.degraded, db.status.closeReason], [false, undefined], what);
      }
      assert.deepEqual(Object.keys(proxy.struck).sort(), ["cut", "delay", "drop", "drop-answer", "status"]);
      await reader.close();
      await db.close();
      const again = await open({ store, path });
      assert.equal((await again.scan().toArray()).length, ledger.rows.size);
      await again.close();
    } finally {
      await store.close();
      await proxy.close();
    }
  });
});
