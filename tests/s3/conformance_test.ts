/**
 * The S3 store is an object store, on every real server there is.
 *
 * @module
 */
import { s3Store } from "../../src/store/s3_store.ts";
import { storeConformance } from "../../src/store/store_conformance.ts";
import { describe, it } from "../support/suite.ts";
import { prefixedStore } from "./prefixed_store.ts";
import { freshFolder, s3Places } from "./places.ts";

for (const place of s3Places()) {
  const { kind, endpoint, bucket, region, accessKeyId, secretAccessKey } = place;
  storeConformance(`s3Store on ${kind}`, () => {
    const store = s3Store({ endpoint, bucket, region, credentials: { accessKeyId, secretAccessKey } });
    return { store: prefixedStore(store, freshFolder()), dispose: () => store.close() };
  }, { describe, it });
}
