/**
 * The server dies under load and comes back: writers wait, say so, and go on by themselves; nothing acknowledged is lost.
 *
 * Each test has a server of its own, which nobody else is on. The database runs on a clock that hurries, so that the
 * half minute after which a store counts as degraded is two real seconds.
 *
 * @module
 */
import { open } from "../../mod.ts";
import type { Db, DbStatus } from "../../src/db/api.ts";
import { hurriedClock } from "../support/hurried_clock.ts";
import { pause, waitUntil } from "../support/s3/processes.ts";
import { type S3Kind, type S3Server, startS3 } from "../support/s3_servers.ts";
import { after, assert, before, describe, it } from "../support/suite.ts";
import { ALL, S3_MISSING, s3Places, s3Store, storeOptions } from "./places.ts";

/** Each runtime has one of the servers, or all. */
const KINDS: readonly S3Kind[] = s3Places().map(({ kind }) => kind)
  .filter((kind, _, all) => ALL || all.length === 1 || (kind === "rgw") === ("Deno" in globalThis));
const PACE = 15;
const WRITERS = 8;
const PATIENCE_MILLIS = 30_000;
const SMALL = { l0SstSizeBytes: 20_000, blockSizeBytes: 1024, minFilterKeys: 1, garbageCollector: false } as const;

/** Writers that each put one durable row after the other until told to stop; every second batch waits for nobody. */
class Load {
  readonly acknowledged = new Map<string, string>();
  readonly refused: unknown[] = [];
  readonly #loops: Promise<void>[];
  #going = true;

  constructor(db: Db) {
    this.#loops = Array.from({ length: WRITERS }, async (_, writer) => {
      for (let n = 0; this.#going; n++) {
        const key = `writer ${writer} row ${String(n).padStart(6, "0")}`;
        const value = `${n} ${"x".repeat(n % 200)}`;
        try {
          await db.put(`soft ${writer}`, `${n}`, { durable: false });
          await db.put(key, value);
          this.acknowledged.set(key, value);
        } catch (error) {
          this.refused.push(error);
          return;
        }
      }
    });
  }

  /** Waits until `count` more rows were acknowledged. */
  async more(count: number): Promise<void> {
    const wanted = this.acknowledged.size + count;
    await waitUntil(`${count} more acknowledgements`, PATIENCE_MILLIS, () => {
      assert.deepEqual(this.refused, [], "a write was refused");
      return this.acknowledged.size >= wanted;
    });
  }

  async stop(): Promise<void> {
    this.#going = false;
    await Promise.all(this.#loops);
  }
}

/** Fails unless the database at `root` holds every acknowledged row. */
async function judge(server: S3Server, root: string, acknowledged: ReadonlyMap<string, string>): Promise<void> {
  const store = s3Store(storeOptions(server));
  const db = await open({ store, path: root }, { compactor: false, garbageCollector: false });
  const rows = new Map((await db.scan().toArray()).map((row) => [text(row.key), text(row.value)]));
  const lost = [...acknowledged].filter(([key, value]) => rows.get(key) !== value);
  assert.deepEqual(lost, [], `${lost.length} of ${acknowledged.size} acknowledged rows are lost`);
  await db.close();
  await store.close();
}

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

for (const kind of KINDS) {
  describe(`s3: the server is killed, ${kind}`, () => {
    let server: S3Server;
    before(async () => {
      server = await startS3(kind);
    });
    after(() => server?.stop());

    it("under load: writes wait and go on, the status tells, nothing acknowledged is lost", async () => {
      const store = s3Store(storeOptions(server));
      const db = await open({ store, path: "db" }, { ...SMALL, clock: hurriedClock(PACE) });
      const told: DbStatus[] = [];
      db.onStatus((status) => void told.push(status));
      const load = new Load(db);
      await load.more(300);
      assert.ok(!db.status.degraded);
      await server.kill();
      await pause(100);
      const before = load.acknowledged.size;
      await waitUntil("a degraded status", PATIENCE_MILLIS, () => db.status.degraded);
      assert.ok(db.status.warnings.length > 0);
      assert.equal(load.acknowledged.size, before, "something was acknowledged without a server");
      assert.equal(db.status.closeReason, undefined);
      await server.restart();
      await waitUntil("a good status", PATIENCE_MILLIS, () => !db.status.degraded);
      await load.more(300);
      // Once more, quickly: nobody needs to notice but the requests that were under way.
      await server.crash();
      await load.more(300);
      await load.stop();
      assert.deepEqual(load.refused, []);
      assert.ok(told.some((status) => status.degraded), "no listener heard of it");
      await db.close();
      await store.close();
      await judge(server, "db", load.acknowledged);
    });

    it("and stays away: a process that gives up leaves a database that holds what it acknowledged", async () => {
      const store = s3Store(storeOptions(server));
      const options = { ...SMALL, requestTimeoutMillis: 15_000, clock: hurriedClock(PACE) };
      const db = await open({ store, path: "other" }, options);
      const load = new Load(db);
      await load.more(200);
      await server.kill();
      await pause(50);
      await assert.rejects(db.close(), /./, "close cannot have stored what was pending");
      await load.stop();
      await store.close();
      await server.restart();
      await judge(server, "other", load.acknowledged);
    });
  });
}
if (KINDS.length === 0) {
  describe("s3: the server is killed", { skip: S3_MISSING }, () => it("needs a server", () => {}));
}
