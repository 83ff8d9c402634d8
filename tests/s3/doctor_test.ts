/**
 * The doctor, and a writer's own short check, on real servers.
 *
 * @module
 */
import { Effect } from "effect";
import { open } from "../../src/db/promise_open.ts";
import { InvalidArgument } from "../../src/errors.ts";
import { examineStore } from "../../src/store/doctor/examine.ts";
import { metered } from "../../src/store/metered_store.ts";
import type { ObjectStoreShape } from "../../src/store/object_store.ts";
import { assert, it } from "../support/suite.ts";
import { ALL, describeOnServers, onS3 } from "./places.ts";

describeOnServers("doctor", (place) => {
  it("examineStore calls the server fit, and leaves nothing", () =>
    onS3(place, async (store, root) => {
      const report = await Effect.runPromise(examineStore(store, { root, quick: !ALL, pages: ALL }));
      const others = report.rows.filter(({ verdict }) => verdict !== "pass");
      assert.equal(report.verdict, "fit", JSON.stringify(others));
      assert.deepEqual(others.map(({ name }) => name), ALL ? [] : ["list pages"]);
      assert.deepEqual(report.left, []);
      assert.deepEqual((await Effect.runPromise(store.list(`${root}/`))).objects, []);
    }));

  it("F4 a writer finds the server's refusal with one request, and none where the endpoint is known", () =>
    onS3(place, async (store, root) => {
      const creates: number[] = [];
      for (const conditionalCreate of ["unknown", "unknown", "known"] as const) {
        const provider = { endpoint: `doctor test ${root}`, conditionalCreate };
        const counted = metered({ ...operationsOf(store), provider }, { component: "test" });
        const db = await open({ store: counted, path: `${root}/${creates.length}` });
        creates.push(counted.meter.requestsOf("test", "putIfAbsent"));
        await db.put("a", "1");
        await db.close();
      }
      assert.deepEqual(creates, [creates[2]! + 1, creates[2], creates[2]]);
    }));

  it("F4 a writer refuses the server behind a gateway that drops the condition", () =>
    onS3(place, async (store, root) => {
      const dropping: ObjectStoreShape = {
        ...operationsOf(store),
        provider: { endpoint: `dropping ${root}`, conditionalCreate: "unknown" },
        putIfAbsent: (path, body) => Effect.as(store.put(path, body), "created" as const),
      };
      const error = await open({ store: dropping, path: root }).then(() => undefined, (error) => error);
      assert.ok(error instanceof InvalidArgument && error.reason === "store-unfit", String(error));
      const report = await Effect.runPromise(examineStore(dropping, { root, quick: true }));
      const failed = report.rows.filter(({ verdict }) => verdict === "fail").map(({ name }) => name);
      assert.deepEqual(failed, ["create-if-absent race", "reject-create"]);
    }));
});

/** A store's operations as plain values, to be replaced one by one. */
function operationsOf(store: ObjectStoreShape): ObjectStoreShape {
  return { ...metered(store, { component: "doctor" }) };
}
