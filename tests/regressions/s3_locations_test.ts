/**
 * Locations that were meant for S3 and are written wrong: none of them is taken for a folder of this machine.
 *
 * @module
 */
import { Effect } from "effect";
import { inspect } from "node:util";
import { folderOf, resolveLocation } from "../../src/db/location.ts";
import { InvalidArgument } from "../../src/errors.ts";
import { assert, describe, it } from "../support/suite.ts";

describe("locations that are no clean text", () => {
  const refusals: ReadonlyArray<readonly [location: string, message: RegExp]> = [
    [" s3://PLANTED@bucket/db", /begins or ends with a blank/],
    ["s3://bucket/db ", /begins or ends with a blank/],
    ["\u00a0s3://bucket/db", /begins or ends with a blank/],
    ["\u200bs3://bucket/PLANTED", /blank or an invisible character/],
    ["\ufeffs3://bucket/db", /blank or an invisible character/],
    ["\ns3://bucket/db", /a control character, such as a line end/],
    ["s3://bucket/db\r", /a control character/],
    ["./folder\n", /a control character/],
    ["./fol\0der", /a control character/],
    [" ./folder", /begins or ends with a blank/],
    ['"s3://bucket/db"', /a quotation mark/],
    ["'./folder'", /a quotation mark/],
    ["\u201cs3://bucket/db\u201d", /a quotation mark/],
    ["s3//PLANTED:PLANTED@bucket/db", /does not begin with s3:\/\//],
    ["-s3://bucket/db", /does not begin with s3:\/\//],
    ["(s3://bucket/db", /does not begin with s3:\/\//],
    ["//S3//bucket/db", /does not begin with s3:\/\//],
    ["s3:/PLANTED/db", /give s3:\/\/bucket\/prefix/],
    ["s3://bucket/db&endpoint=https://localhost/PLANTED", /the prefix holds "&" or "="; settings begin with "\?"/],
    ["s3://bucket/region=PLANTED", /the prefix holds "&" or "="/],
  ];
  for (const [location, message] of refusals) {
    it(`resolveLocation refuses ${JSON.stringify(location)}`, async () => {
      const error = await Effect.runPromise(Effect.flip(resolveLocation(location)));
      assert.ok(error instanceof InvalidArgument && error.reason === "location");
      assert.match(error.message, message);
      assert.ok(!inspect(error, { depth: 9 }).includes("PLANTED"), "repeats what may be a secret");
      if (!/^s3:/.test(location)) assert.throws(() => folderOf(location), InvalidArgument);
    });
  }

  it("folders keep the names that are usual, blanks and quotes within included", () => {
    for (const folder of ["/srv/my data/it's", "/srv/s3/db", "/srv/a=b&c", "/srv/s3:/x", "/srv/ü \u65e5"]) {
      assert.equal(folderOf(folder), folder);
    }
    assert.equal(folderOf("file:///srv/blank%20"), "/srv/blank ");
  });
});
