/**
 * The S3 store is an object store, on every real server there is.
 *
 * @module
 */
import { storeBelow } from "../../src/store/store_below.ts";
import { storeConformance } from "../../src/store/store_conformance.ts";
import { describe, it } from "../support/suite.ts";
import { freshFolder, s3Places, s3Store } from "./places.ts";

const places = s3Places();
if (places.length === 0) {
  describe("s3: conformance of the store", { skip: "run with: deno task test --s3" }, () => {
    it("needs a server", () => {});
  });
}
for (const { kind, endpoint, bucket, region, accessKeyId, secretAccessKey } of places) {
  storeConformance(`s3Store on ${kind}`, () => {
    // The generic profile, as a user of such a server would have it.
    const store = s3Store({ endpoint, bucket, region, credentials: { accessKeyId, secretAccessKey } });
    return { store: storeBelow(store, freshFolder()), dispose: () => store.close() };
  }, { describe, it });
}
