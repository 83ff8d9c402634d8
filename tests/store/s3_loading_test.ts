/**
 * The AWS SDK is loaded for a place in S3 and for nothing else.
 *
 * @module
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { canUseDisk } from "../support/permissions.ts";
import { importsOf, readSource } from "../support/source_text.ts";
import { assert, describe, it } from "../support/suite.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const SKIP = canUseDisk() ? false : "needs the disk";

/** Everything that `entry` loads at once, by following what it imports by name and not only for types. */
function loadedBy(entry: string): ReadonlyMap<string, string> {
  const from = new Map<string, string>();
  const waiting = [entry];
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    for (const { specifier, typeOnly } of importsOf(readSource(readFileSync(ROOT + path, "utf8")))) {
      if (typeOnly || isDynamic(path, specifier)) continue;
      const target = specifier.startsWith(".") ? new URL(specifier, `file:///${path}`).pathname.slice(1) : specifier;
      if (from.has(target)) continue;
      from.set(target, path);
      if (specifier.startsWith(".")) waiting.push(target);
    }
  }
  return from;
}

/** Whether `path` imports it when it needs it, not at once. */
function isDynamic(path: string, specifier: string): boolean {
  return readFileSync(ROOT + path, "utf8").includes(`import("${specifier}")`);
}

describe("the AWS SDK", { skip: SKIP }, () => {
  it("is not among what the engine, its test tools and its commands import", () => {
    for (const entry of ["mod.ts", "src/testing.ts", "src/cli/main.ts"]) {
      const loaded = loadedBy(entry);
      assert.ok(loaded.has("effect") && loaded.size > 10, entry);
      for (const [target, by] of loaded) {
        assert.ok(!target.startsWith("@aws-sdk"), `${entry} loads ${target}, imported by ${by}`);
        assert.notEqual(target, "src/store/s3_store.ts", `${entry} loads the store in S3, imported by ${by}`);
      }
    }
    assert.ok(loadedBy("mod.ts").has("src/store/s3/s3_location.ts"), "locations are judged without it");
    assert.ok(loadedBy("src/s3.ts").has("@aws-sdk/client-s3"), "and the door to S3 has it");
  });
});
