import { PRICE_SHEETS, priced, R2, requestClasses, S3_EXPRESS, S3_STANDARD } from "../../src/db/price_sheets.ts";
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
  });

  it("priced agrees with the published prices of a million requests of each class", () => {
    const dollars = priced(requests);
    const near = (name: string, expected: number) => assert.ok(Math.abs(dollars[name]! - expected) < 1e-9, name);
    near(S3_STANDARD.name, 5 + 0.4);
    near(S3_EXPRESS.name, 1.13 + 0.03);
    near(R2.name, 4.5 + 0.36);
    assert.deepEqual(priced({}, [R2]), { [R2.name]: 0 });
  });

  it("PRICE_SHEETS say where and when they were read", () => {
    for (const sheet of PRICE_SHEETS) assert.match(sheet.source, /\.com\/.* read 20\d\d-\d\d/);
    assert.equal(new Set(PRICE_SHEETS.map((sheet) => sheet.name)).size, PRICE_SHEETS.length);
  });
});
