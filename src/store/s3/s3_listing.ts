/**
 * Pages of a listing as the engine knows them: names in order, none that it could not ask for.
 *
 * @module
 */
import { Effect } from "effect";
import { StoreError } from "../../errors.ts";
import type { ListPage, ObjectMeta } from "../object_store.ts";
import { compareNames, isObjectName } from "../store_names.ts";

/** What is read of an answer of ListObjectsV2. */
export interface RawPage {
  readonly Contents?:
    | ReadonlyArray<{
      readonly Key?: string | undefined;
      readonly Size?: number | undefined;
      readonly LastModified?: Date | undefined;
    }>
    | undefined;
  readonly IsTruncated?: boolean | undefined;
}

/**
 * One page of good names. Foreign ones ("folder/", "a//b") are left out; a page of nothing else leads to the next one,
 * so that an empty page is always the end.
 */
export function listPage(
  prefix: string,
  startAfter: string | undefined,
  ask: (after: string | undefined) => Effect.Effect<RawPage, StoreError>,
): Effect.Effect<ListPage, StoreError> {
  return Effect.flatMap(ask(startAfter), ({ Contents = [], IsTruncated = false }) => {
    const objects: ObjectMeta[] = [];
    let last = startAfter;
    for (const { Key = "", Size = 0, LastModified } of Contents) {
      // Every step goes forward, or the walk might never end and the newest name would not be the last.
      if (!Key.startsWith(prefix) || (last !== undefined && compareNames(Key, last) <= 0)) {
        return Effect.fail(outOfOrder(prefix));
      }
      last = Key;
      if (isObjectName(Key)) objects.push({ path: Key, size: Size, lastModifiedMillis: LastModified?.getTime() ?? 0 });
    }
    if (IsTruncated && Contents.length === 0) return Effect.fail(outOfOrder(prefix));
    if (objects.length === 0 && IsTruncated) return listPage(prefix, last, ask);
    return Effect.succeed({ objects, truncated: IsTruncated });
  });
}

function outOfOrder(prefix: string): StoreError {
  return new StoreError({
    op: "list",
    path: prefix,
    reason: "unavailable",
    retryable: true,
    outcome: "none",
    detail: "the listing is not in the order of its names, or does not go on; the service does not list as S3 does",
  });
}
