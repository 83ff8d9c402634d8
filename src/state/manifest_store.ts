/**
 * The stored versions of the manifest. Where the newest one is a tombstone there is no database, and one that is made
 * there continues its numbers.
 *
 * @module
 */
import { decodeManifest, encodeManifest } from "../format/manifest_codec.ts";
import { MANIFEST_DIR, manifestPath } from "../format/paths.ts";
import type { Manifest } from "../format/types.ts";
import type { ObjectStoreShape } from "../store/object_store.ts";
import { NumberedVersions, type Version, type VersionKind } from "./numbered_versions.ts";
import { isTombstone, succeeding } from "./tombstone.ts";

/** One stored version of the manifest. */
export interface StoredManifest extends Version {
  readonly manifest: Manifest;
}

const MANIFESTS: VersionKind<Manifest, StoredManifest> = {
  section: "manifest",
  folder: MANIFEST_DIR,
  path: manifestPath,
  encode: encodeManifest,
  decode: (bytes) => decodeManifest(bytes).manifest,
  stored: (version, manifest) => ({ ...version, manifest }),
  ending: {
    isEnd: ({ id, manifest }) => isTombstone(id, manifest),
    begin: ({ manifest }, first) => succeeding(manifest, first),
  },
};

/** The manifest versions below one database root. */
export class ManifestStore extends NumberedVersions<Manifest, StoredManifest> {
  constructor(store: ObjectStoreShape, root: string) {
    super(store, root, MANIFESTS);
  }
}
