/**
 * The stored versions of the compactions object: what the compactor is about to do and has done.
 *
 * @module
 */
import { decodeCompactions, encodeCompactions } from "../format/compactions_codec.ts";
import { COMPACTIONS_DIR, compactionsPath } from "../format/paths.ts";
import type { Compactions } from "../format/types.ts";
import type { ObjectStoreShape } from "../store/object_store.ts";
import { NumberedVersions, type Version, type VersionKind } from "./numbered_versions.ts";

/** One stored version of the compactions object. */
export interface StoredCompactions extends Version {
  readonly compactions: Compactions;
}

const COMPACTIONS: VersionKind<Compactions, StoredCompactions> = {
  section: "compactions",
  folder: COMPACTIONS_DIR,
  path: compactionsPath,
  encode: encodeCompactions,
  decode: decodeCompactions,
  stored: (version, compactions) => ({ ...version, compactions }),
};

/** The versions of the compactions object below one database root. */
export class CompactionsStore extends NumberedVersions<Compactions, StoredCompactions> {
  constructor(store: ObjectStoreShape, root: string) {
    super(store, root, COMPACTIONS);
  }
}
