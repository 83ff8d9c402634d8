import {
  dollarsOf,
  NO_USAGE,
  PRICE_SHEETS,
  priced,
  R2,
  requestClasses,
  S3_EXPRESS,
  S3_STANDARD,
  storageDollars,
  storeDollars,
  withDollars,
} from "../../src/db/price_sheets.ts";
import { assert, describe, it } from "../support/suite.ts";

describe("price sheets", () => {
  const requests = {
    db: { get: 600_000, getRange: 300_000, getRanges: 50_000, head: 50_000, putIfAbsent: 400_000, delete: 7 },
    wal: { put: 100_000, list: 200_000, uploadPart: 100_000, upload: 100_000, uploadComplete: 100_000, abort: 3 },
  };

  it("requestClasses sorts every kind, unknown ones as the dearest", () => {
    assert.deepEqual(requestClasses(requests), { puts: 1_000_000, gets: 1_000_000, free: 10 });
    assert.deepEqual(requestClasses({ db: { somethingNew: 2 } }), { puts: 2, gets: 0, free: 0 });
    assert.deepEqual(requestClasses({}), { puts: 0, gets: 0, free: 0 });
    assert.deepEqual(requestClasses({ gc: { delete: 5, deleteMany: 4, abort: 3 } }), { puts: 0, gets: 0, free: 12 });
  });

  it("priced agrees with the published prices of a million requests of each class", () => {
    const dollars = priced(requests);
    const near = (name: string, expected: number) => assert.ok(Math.abs(dollars[name]! - expected) < 1e-9, name);
    near(S3_STANDARD.name, 5 + 0.4);
    near(S3_EXPRESS.name, 1.13 + 0.03);
    near(R2.name, 4.5 + 0.36);
    assert.deepEqual(priced({}, [R2]), { [R2.name]: 0 });
  });

  it("storeDollars agrees with the worked example that S3 Express' page gives", () => {
    // A million writes and nine million reads of 10 KB each, 10 GB stored: $1.13 + $0.27 + $0.03 + $0.05 + $1.10.
    const usage = { puts: 1e6, gets: 9e6, free: 1e6, bytesWritten: 10_240 * 1e6, bytesRead: 10_240 * 9e6 };
    const cents = (dollars: number) => Math.round(dollars * 100);
    assert.equal(cents(storeDollars(usage, S3_EXPRESS)), 113 + 27 + 3 + 5);
    assert.equal(cents(storageDollars(10 * 2 ** 30, S3_EXPRESS)), 110);
    assert.equal(cents(storeDollars(usage, S3_STANDARD)), 500 + 360);
    assert.equal(cents(storeDollars(usage, R2)), 450 + 324);
  });

  it("storageDollars prices a stored GB as the store measures it", () => {
    assert.equal(storageDollars(2 ** 30, S3_STANDARD), 0.023);
    assert.equal(storageDollars(1e9, R2), 0.015);
    assert.equal(storageDollars(1e9, { name: "own", source: "own", putPer1000: 1, getPer1000: 1 }), 0);
  });

  it("a sheet of one's own needs prices of requests only", () => {
    const own = { name: "ours", source: "the bill of June", putPer1000: 1, getPer1000: 2 };
    const usage = { main: { ...NO_USAGE, puts: 3000, gets: 4000, bytesRead: 1e12, bytesWritten: 1e12 } };
    assert.equal(dollarsOf(usage, own), 11);
    assert.deepEqual(withDollars(usage, [own]), { ...usage, dollars: { ours: 11 } });
  });

  it("PRICE_SHEETS say where and when they were read", () => {
    for (const sheet of PRICE_SHEETS) assert.match(sheet.source, /\.com\/.* read 20\d\d-\d\d/);
    assert.equal(new Set(PRICE_SHEETS.map((sheet) => sheet.name)).size, PRICE_SHEETS.length);
  });
});
