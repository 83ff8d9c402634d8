/** Files of a disk cache that are cut, flipped, swapped or foreign; and a model of the whole with random histories. */
import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as fc from "fast-check";
import {
  diskBytes,
  PAGE_BYTES,
  partSeed,
  readPart,
  storedBytes,
  writePart,
} from "../../src/store/disk_cache/part_file.ts";
import { PartIndex, PARTS_MAX } from "../../src/store/disk_cache/part_index.ts";
import type { Seat } from "../../src/store/disk_cache/part_folder.ts";
import { cachedObject, partName } from "../../src/store/disk_cache/part_name.ts";
import { PartQueue } from "../../src/store/disk_cache/part_queue.ts";
import type { OpenFile } from "../../src/store/file/file_system.ts";
import { virtualClock } from "../../src/env/virtual_clock.ts";
import { inFolder } from "../support/folders.ts";
import { canUseDisk } from "../support/permissions.ts";
import { assert, describe, it } from "../support/suite.ts";
import { body, bytesOf, CacheWorld, run, same, table } from "./disk_cache_world.ts";

const skip = canUseDisk() ? false : "needs the disk";

/** A file in memory, which reads at most `turn` bytes at a time. */
function fileOf(bytes: Uint8Array, turn = Infinity): OpenFile & { bytes: Uint8Array; asked: number } {
  const file = {
    bytes,
    asked: 0,
    read: (buffer: Uint8Array, offset: number, length: number, position: number) => {
      file.asked = Math.max(file.asked, buffer.length);
      const found = file.bytes.subarray(position, position + Math.min(length, turn));
      buffer.set(found, offset);
      return Promise.resolve({ bytesRead: found.length });
    },
    write: (buffer: Uint8Array, offset: number, length: number, position: number) => {
      const grown = new Uint8Array(Math.max(file.bytes.length, position + length));
      grown.set(file.bytes);
      grown.set(buffer.subarray(offset, offset + length), position);
      file.bytes = grown;
      return Promise.resolve({ bytesWritten: length });
    },
    sync: () => Promise.resolve(),
    stat: () => Promise.reject(new Error("not asked")),
    close: () => Promise.resolve(),
  };
  return file;
}

async function stored(bytes: Uint8Array, seed: number): Promise<Uint8Array> {
  const file = fileOf(new Uint8Array(0));
  await writePart(file, seed, bytes);
  return file.bytes;
}

/** Fails unless a read answers the right bytes or none. */
function right(found: Uint8Array | string, expected: Uint8Array, what: string): void {
  if (typeof found === "string") return;
  assert.ok(Buffer.from(found).equals(expected), `${what}: wrong bytes`);
}

describe("readPart", () => {
  const LENGTH = 2 * PAGE_BYTES + 300;
  const whole = body(LENGTH, 5);
  const seed = partSeed(12345, 7);

  it("readPart answers every range of what writePart wrote, whatever the file system reads at once", async () => {
    const bytes = await stored(whole, seed);
    assert.equal(bytes.length, storedBytes(LENGTH));
    await fc.assert(
      fc.asyncProperty(
        fc.nat(LENGTH - 1),
        fc.integer({ min: 1, max: LENGTH }),
        fc.constantFrom(1000, 4096, 100_000),
        async (from, length, turn) => {
          const to = Math.min(LENGTH, from + length);
          assert.deepEqual(await readPart(fileOf(bytes, turn), seed, from, to), whole.slice(from, to));
        },
      ),
      { seed: 11, numRuns: 300 },
    );
    assert.equal(await readPart(fileOf(bytes), seed, 0, LENGTH + 1), "short");
    assert.equal(await readPart(fileOf(bytes), seed, 3 * PAGE_BYTES, 3 * PAGE_BYTES + 1), "short");
  });

  it("readPart of a part of many pages reads them in turns", async () => {
    const large = body(300 * PAGE_BYTES + 17, 3);
    const file = fileOf(await stored(large, seed));
    assert.deepEqual(await readPart(file, seed, 5, large.length - 3), large.slice(5, -3));
    assert.ok(file.asked <= 64 * (PAGE_BYTES + 4), `${file.asked} bytes at once`);
  });

  it("readPart of a file that was cut anywhere answers the right bytes or none", async () => {
    const bytes = await stored(whole, seed);
    const answered = new Set<string>();
    for (let end = 0; end < bytes.length; end++) {
      for (const [from, to] of [[0, 10], [4_000, 4_200], [LENGTH - 10, LENGTH], [0, LENGTH]] as const) {
        const found = await readPart(fileOf(bytes.subarray(0, end)), seed, from, to);
        right(found, whole.subarray(from, to), `cut at ${end}, ${from}..${to}`);
        answered.add(typeof found === "string" ? found : "bytes");
        if (to === LENGTH) assert.ok(typeof found === "string", `cut at ${end}: the end cannot be there`);
      }
    }
    assert.deepEqual([...answered].sort(), ["bytes", "damaged", "short"]);
  });

  it("readPart of a file with any byte changed answers damage wherever the page is needed", async () => {
    const bytes = await stored(whole, seed);
    for (let at = 0; at < bytes.length; at++) {
      const isSum = at % (PAGE_BYTES + 4) >= PAGE_BYTES || at >= bytes.length - 4;
      const values = isSum ? Array.from({ length: 255 }, (_, i) => i + 1) : [1, 0x80, 0xff];
      const page = Math.floor(at / (PAGE_BYTES + 4));
      const start = page * PAGE_BYTES;
      for (const change of values) {
        const bad = bytes.slice(start, bytes.length);
        bad.set(bytes.subarray(start));
        bad[at - start]! ^= change;
        const file = fileOf(bad);
        const shifted: OpenFile = {
          ...file,
          read: (buffer, offset, length, position) => file.read(buffer, offset, length, position - start),
        };
        assert.equal(await readPart(shifted, seed, start, start + 1), "damaged", `byte ${at} ^ ${change}`);
      }
    }
  });

  it("readPart believes no page of another place, part or object, no zeros, and nothing that was added", async () => {
    const bytes = await stored(whole, seed);
    const page = PAGE_BYTES + 4;
    const swapped = bytes.slice();
    swapped.set(bytes.subarray(page, 2 * page), 0);
    swapped.set(bytes.subarray(0, page), page);
    assert.equal(await readPart(fileOf(swapped), seed, 0, 10), "damaged");
    for (const other of [partSeed(12345, 8), partSeed(12346, 7)]) {
      assert.equal(await readPart(fileOf(bytes), other, 0, 10), "damaged");
    }
    assert.equal(await readPart(fileOf(new Uint8Array(bytes.length)), seed, 0, 10), "damaged");
    const longer = new Uint8Array(bytes.length + 50);
    longer.set(bytes);
    assert.equal(await readPart(fileOf(longer), seed, LENGTH - 10, LENGTH), "damaged");
  });

  it("diskBytes counts what a file takes of a disk", () => {
    assert.deepEqual([0, 1, 4096, 4097].map(diskBytes), [0, 4096, 4096, 8192]);
  });
});

describe("PartIndex", () => {
  it("PartIndex sums up, and never more than its names", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(12), fc.nat(5), fc.constantFrom("put", "remove", "touch", "found")), {
          maxLength: 80,
        }),
        (steps) => {
          const index = new PartIndex();
          const model = new Map<string, number>();
          for (const [n, bytes, what] of steps) {
            const name = `n${n}`;
            if (what === "put") index.put(name, bytes);
            else if (what === "found") index.put(name, bytes, 1_000 + n);
            if (what === "put" || what === "found") model.set(name, bytes);
            else if (what === "remove") assert.equal(index.remove(name), model.get(name) ?? 0);
            else assert.equal(index.touch(name), model.has(name));
            if (what === "remove") model.delete(name);
            assert.equal(index.count, model.size);
            assert.equal(index.bytes, [...model.values()].reduce((sum, one) => sum + one, 0));
            const victim = index.victim();
            assert.ok(model.size === 0 ? victim === undefined : model.has(victim!));
          }
        },
      ),
      { seed: 12, numRuns: 300 },
    );
    assert.equal(PARTS_MAX, 262_144);
  });

  it("PartIndex gives up what was found on the disk before what was used, the older of two first", () => {
    const index = new PartIndex();
    index.seed(7);
    index.put("used", 1);
    index.put("found early", 1, 1_000);
    index.put("found late", 1, 9_000_000_000_000);
    const counts = new Map<string, number>();
    for (let i = 0; i < 900; i++) {
      const name = index.victim()!;
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
    const of = (name: string) => counts.get(name) ?? 0;
    assert.ok(of("found early") > of("found late") && of("found late") > of("used"), JSON.stringify([...counts]));
  });

  it("PartIndex forgets after a scan what the scan has not seen, except what was written meanwhile", () => {
    const index = new PartIndex();
    index.put("gone", 1);
    index.put("there", 1);
    index.beginScan();
    assert.equal(index.seen("there"), true);
    assert.equal(index.seen("new"), false);
    index.put("new", 1, 5);
    index.put("written", 1);
    index.endScan();
    assert.deepEqual(["gone", "there", "new", "written"].map((name) => index.find(name) !== undefined), [
      false,
      true,
      true,
      true,
    ]);
  });
});

describe("PartQueue", () => {
  const seat: Seat = { maxBytes: 1, scanIntervalMillis: 1, evictedKeys: 0, evictedBytes: 0, skippedParts: 0 };
  const MIB = 1 << 20;

  it("PartQueue bounds the memory of what waits, lets one large write pass, and gives back what left", () => {
    const queue = new PartQueue();
    let done = 0;
    const write = (n: number, mib: number) => ({
      seat,
      object: cachedObject("", table(n), MIB),
      firstPart: 0,
      partBytes: MIB,
      bytes: new Uint8Array(mib * MIB),
      moment: { wallMillis: 0, monotonicMillis: 0, unique: "0", clock: virtualClock() },
      done: () => void done++,
    });
    assert.equal(queue.push(write(1, 150)), true, "alone, whatever its size");
    assert.equal(queue.push(write(2, 1)), false);
    assert.ok(queue.begin() !== undefined);
    assert.equal(queue.push(write(2, 1)), false, "while the large one is being written");
    queue.end();
    assert.equal(queue.push(write(2, 100)), true);
    assert.equal(queue.push(write(3, 29)), false);
    assert.equal(queue.push(write(3, 28)), true);
    assert.equal(queue.bytes, 128 * MIB);
    queue.drop(() => true);
    assert.deepEqual([queue.bytes, done], [0, 3]);
    assert.equal(queue.begin(), undefined);
  });

  it("PartQueue finds parts until they are written or dropped, the later of two with one name", () => {
    const queue = new PartQueue();
    const object = cachedObject("", table(1), 1024);
    const write = (seed: number) => ({
      seat,
      object,
      firstPart: 3,
      partBytes: 1024,
      bytes: body(1_500, seed),
      moment: { wallMillis: 0, monotonicMillis: 0, unique: "0", clock: virtualClock() },
      done: () => {},
    });
    queue.push(write(1));
    assert.deepEqual(queue.find(partName(object, 3)), body(1_500, 1).subarray(0, 1024));
    assert.deepEqual(queue.find(partName(object, 4)), body(1_500, 1).subarray(1024));
    assert.equal(queue.find(partName(object, 5)), undefined);
    queue.push(write(2));
    queue.begin();
    queue.end();
    assert.deepEqual(queue.find(partName(object, 4)), body(1_500, 2).subarray(1024));
    queue.begin();
    queue.end();
    assert.equal(queue.find(partName(object, 3)), undefined);
  });
});

describe("diskCache and damage", { skip }, () => {
  it("PC1 diskCache answers right and mends itself, wherever a file was cut or flipped", () =>
    inFolder(async (folder) => {
      const world = new CacheWorld(join(folder, "cache"));
      world.memory.plant(table(1), body(6_000, 1));
      const cache = world.open();
      await same(cache, world.memory, table(1), 0, 6_000);
      await run(cache.settled);
      const [path] = world.files();
      const good = bytesOf(path!);
      assert.equal(good.length, storedBytes(6_000));
      for (let at = 0; at < good.length; at += 61) {
        for (const bad of [good.subarray(0, at), good.map((byte, i) => i === at ? byte ^ 4 : byte)]) {
          writeFileSync(path!, bad);
          await same(cache, world.memory, table(1), 10, 5_990);
          await run(cache.settled);
          assert.deepEqual(bytesOf(path!), good, `damage at ${at} was not mended`);
        }
      }
      assert.ok(cache.figures().damagedParts > 90);
      await run(cache.close);
    }));

  it("PC1 diskCache answers right when files are swapped, replaced by folders, emptied or taken from others", () =>
    inFolder(async (folder) => {
      const world = new CacheWorld(join(folder, "cache"));
      for (let n = 0; n < 2; n++) world.memory.plant(table(n), body(30_000, n + 1));
      const cache = world.open();
      for (let n = 0; n < 2; n++) await same(cache, world.memory, table(n), 0, 30_000);
      await run(cache.settled);
      const files = world.files();
      assert.equal(files.length, 8);
      for (let i = 0; i < 8; i += 2) {
        renameSync(files[i]!, `${files[i]!}.x`);
        renameSync(files[i + 1]!, files[i]!);
        renameSync(`${files[i]!}.x`, files[i + 1]!);
      }
      for (let n = 0; n < 2; n++) await same(cache, world.memory, table(n), 0, 30_000);
      await run(cache.settled);
      for (const path of world.files()) writeFileSync(path, "");
      rmSync(files[0]!);
      mkdirSync(files[0]!);
      for (let n = 0; n < 2; n++) await same(cache, world.memory, table(n), 0, 30_000);
      await run(cache.close);
    }));

  it("diskCache answers as the store does, in random histories with evictions, reopenings and damage", () =>
    inFolder(async (folder) => {
      let world = 0;
      const step = fc.oneof(
        {
          weight: 12,
          arbitrary: fc.record({
            do: fc.constant("read" as const),
            n: fc.nat(5),
            at: fc.nat(40_000),
            length: fc.integer({ min: 1, max: 30_000 }),
            hint: fc.boolean(),
          }),
        },
        { weight: 2, arbitrary: fc.record({ do: fc.constant("together" as const), n: fc.nat(5), at: fc.nat(40_000) }) },
        { weight: 1, arbitrary: fc.record({ do: fc.constant("put" as const), n: fc.nat(5), seed: fc.nat(99) }) },
        { weight: 1, arbitrary: fc.record({ do: fc.constant("spoil" as const), file: fc.nat(40), at: fc.nat(8_000) }) },
        { weight: 1, arbitrary: fc.record({ do: fc.constant("reopen" as const) }) },
        { weight: 2, arbitrary: fc.record({ do: fc.constant("settle" as const) }) },
      );
      await fc.assert(
        fc.asyncProperty(
          fc.array(step, { minLength: 5, maxLength: 60 }),
          fc.constantFrom(1024, 4096, 8192, 65_536),
          fc.constantFrom(131_072, 200_000, 1 << 30),
          fc.boolean(),
          async (steps, partBytes, maxBytes, cachePuts) => {
            const { memory, open, files } = bound(new CacheWorld(join(folder, `${world++}`)));
            const sizes = [1, 1_024, 20_000, 40_000, 41_000, 65_537];
            for (const [n, size] of sizes.entries()) memory.plant(table(n), body(size, n + 1));
            let cache = open({ partBytes, maxBytes, cachePuts });
            await run(cache.ready);
            for (const one of steps) {
              if (one.do === "read") {
                const size = sizes[one.n]!;
                const offset = Math.min(one.at, size - 1);
                const length = Math.min(one.length, size - offset);
                const hint = one.hint ? { knownEnd: size } : undefined;
                const found = await run(cache.getRange(table(one.n), { offset, length }, hint));
                assert.ok(Buffer.from(memory.peek(table(one.n))!.subarray(offset, offset + length)).equals(found));
                found.fill(0);
              } else if (one.do === "together") {
                const size = sizes[one.n]!;
                await Promise.all(Array.from({ length: 8 }, (_, i) => {
                  const offset = Math.min(one.at + i * 700, size - 1);
                  return same(cache, memory, table(one.n), offset, Math.min(900, size - offset));
                }));
              } else if (one.do === "put") {
                await run(cache.put(table(one.n), body(sizes[one.n]!, 100 + one.seed)));
              } else if (one.do === "spoil") {
                const all = files();
                const path = all[one.file % Math.max(all.length, 1)];
                if (path === undefined) continue;
                try {
                  const bytes = bytesOf(path);
                  writeFileSync(
                    path,
                    one.at % 2 === 0 ? bytes.subarray(0, one.at) : bytes.map((b, i) => i === one.at ? ~b : b),
                  );
                } catch {
                  // It was evicted meanwhile.
                }
              } else if (one.do === "reopen") {
                await run(cache.close);
                cache = open({ partBytes, maxBytes, cachePuts });
              } else {
                await run(cache.settled);
                assert.ok(cache.figures().bytes <= maxBytes);
              }
            }
            await run(cache.close);
          },
        ),
        { seed: 13, numRuns: 60 },
      );
    }));
});

function bound(world: CacheWorld): Pick<CacheWorld, "memory" | "open" | "files"> {
  return { memory: world.memory, open: (options) => world.open(options), files: () => world.files() };
}
