/**
 * Databases in S3, and in whatever speaks its protocol: Cloudflare R2, Ceph, MinIO and others.
 *
 * `open("s3://bucket/prefix")` needs none of this: it imports the AWS SDK when it meets such a location. Here is the
 * store itself, for settings that a location cannot hold, several databases over one set of connections, a store of its
 * own for the log, and the Effect face:
 *
 * ```ts ignore
 * import { open } from "@phyllite/db";
 * import { s3Store } from "@phyllite/db/s3";
 *
 * const store = s3Store({
 *   bucket: "my-bucket",
 *   endpoint: "https://s3.example.com", // AWS when absent
 *   credentials: { accessKeyId: "…", secretAccessKey: "…" }, // the usual AWS_* chain when absent
 * });
 * const db = await open({ store, path: "databases/orders" });
 * await db.put("a", "1");
 * await db.close();
 * await store.close(); // whoever makes a store ends it
 * ```
 *
 * The service must refuse to create what exists (`If-None-Match: *`), or two writers could not be told apart. AWS and R2
 * do; of any other a writer makes sure when it opens.
 *
 * @module
 */
export * from "./store/s3_store.ts";
export type {
  ByteRange,
  ListPage,
  ObjectMeta,
  ObjectStoreShape,
  PutIdentity,
  ReadHint,
  StoreProvider,
  Upload,
} from "./store/object_store.ts";
