/**
 * The runner of op-scripts: what it must notice.
 *
 * @module
 */
import schema from "../testdata/op_scripts/op-script.schema.json" with { type: "json" };
import { errorKind } from "../../src/cli/exec/answers.ts";
import { bytesOf, instantiate, type Step } from "../../src/cli/exec/step_values.ts";
import { mergeOperatorNamed } from "../../src/cli/merge_operators.ts";
import { Closed, DataError, Internal, InvalidArgument, TransactionConflict } from "../../src/errors.ts";
import { decodeManifest } from "../../src/format/manifest_codec.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import { hex } from "../support/bytes.ts";
import { runScenario } from "../support/op_script_runner.ts";
import { type Json, validate } from "../support/op_script_schema.ts";
import { expectedPairs, type Scenario } from "../support/op_script_values.ts";
import { PLACES } from "../support/op_script_world.ts";
import { assert, describe, it } from "../support/suite.ts";

const scenario = (steps: readonly unknown[], more: Partial<Scenario> = {}): Scenario => ({
  id: "own/sample",
  group: "own",
  title: "",
  requires: [],
  steps: steps as Step[],
  ...more,
});
const file = (step: Json): Json => ({
  schema: "op-script/1",
  upstream: {},
  scenarios: [{ id: "a", group: "g", title: "t", source: {}, requires: [], verifiedBy: [], steps: [step] }],
});
const run = (steps: readonly unknown[], more?: Partial<Scenario>) =>
  runScenario(scenario(steps, more), PLACES.memory(), "default");

describe("op-script schema", () => {
  const problems = (step: Json) => validate(schema as unknown as Json, file(step));

  it("validate accepts a step and refuses an unknown operation, field or form", () => {
    assert.deepEqual(problems({ op: "put", key: { hex: "00ff" }, value: "v", ttl: { after: 3 } }), []);
    assert.match(problems({ op: "explode" })[0] ?? "", /steps\[0\]\.op "explode" is none of/);
    assert.match(problems({ op: "get", keyy: "a" })[0] ?? "", /unknown field keyy/);
    assert.match(problems({ op: "get", key: { hex: "0f0" } })[0] ?? "", /key fits 0 of/);
    assert.match(problems({ op: "scan", limit: 1.5 })[0] ?? "", /limit is no "integer"/);
    assert.match(problems({ op: "each", count: 0 })[0] ?? "", /count is below 1/);
    assert.match(
      validate(schema as unknown as Json, { schema: "op-script/2", scenarios: [] }).join(),
      /lacks upstream/,
    );
  });

  it("validate does not ignore what it does not implement", () => {
    assert.throws(() => validate({ type: "object", maxProperties: 1 }, {}), /maxProperties is not implemented/);
    assert.throws(() => validate({ $ref: "#/$defs/none" }, 1), /leads nowhere/);
  });
});

describe("op-script notation", () => {
  it("bytesOf reads every form", () => {
    assert.equal(hex(bytesOf("é")), "c3a9");
    assert.equal(hex(bytesOf({ hex: "00ff" })), "00ff");
    assert.equal(hex(bytesOf({ repeat: "ab", count: 2 })), "61626162");
    assert.equal(hex(bytesOf({ repeatHex: "0a", count: 3 })), "0a0a0a");
    assert.equal(hex(bytesOf({ u64le: 258 })), "0201000000000000");
  });

  it("instantiate fills in the counter everywhere but in hex and in runs", () => {
    assert.deepEqual(
      instantiate(
        { op: "put", key: "k{i:03}-{i}", value: { hex: "00" }, expect: [["{i}", "v"], { kv: ["{i}", ""] }] },
        7,
      ),
      { op: "put", key: "k007-7", value: { hex: "00" }, expect: [["7", "v"], { kv: ["{i}", ""] }] },
    );
  });

  it("expectedPairs expands runs, downwards too", () => {
    assert.deepEqual(expectedPairs([["a", "b"], { from: 2, count: 2, step: -1, kv: ["{i:02}", "v{i}"] }]), [
      [{ hex: "61" }, { hex: "62" }],
      [{ hex: "3032" }, { hex: "7632" }],
      [{ hex: "3031" }, { hex: "7631" }],
    ]);
  });

  it("prefixRouted adds, takes the maximum, or concatenates", () => {
    const merge = mergeOperatorNamed("prefixRouted")!;
    const fold = (key: string, values: readonly Json[]) =>
      hex(values.map(bytesOf).reduce<Uint8Array | undefined>((old, add) => merge(bytesOf(key), old, add), undefined)!);
    assert.equal(fold("sum:a", [{ u64le: 3 }, { u64le: 4 }]), hex(bytesOf({ u64le: 7 })));
    assert.equal(fold("max:a", [{ u64le: 9 }, { u64le: 4 }]), hex(bytesOf({ u64le: 9 })));
    assert.equal(fold("x", ["a", "b"]), hex(bytesOf("ab")));
  });

  it("errorKind maps each public error", () => {
    const message = "x";
    const kinds = [
      new InvalidArgument({ reason: "key-empty", message }),
      new InvalidArgument({ reason: "merge-operator-missing", message }),
      new Closed({ reason: "clean", message }),
      new Closed({ reason: "fenced", message }),
      new Closed({ reason: "failed", message }),
      new TransactionConflict({ reason: "write", message }),
      new DataError({ object: "o", section: "s", offset: 0, reason: "checksum" }),
      new Internal({ reason: "defect", message }),
      new Error(message),
    ].map(errorKind);
    assert.deepEqual(kinds, [
      "InvalidArgument",
      "MergeOperatorMissing",
      "Closed",
      "Fenced",
      "Failed",
      "Conflict",
      "Data",
      "Internal",
      "Internal",
    ]);
  });
});

describe("op-script runner", () => {
  const some = [{ op: "open" }, { op: "put", key: "a", value: "1" }];

  it("runScenario notices a wrong value, row, number and error", async () => {
    const wrong: readonly (readonly [unknown, RegExp])[] = [
      [{ op: "get", key: "a", expect: "2" }, /step 3.*Expected|step 3[\s\S]*31/],
      [{ op: "get", key: "a", expect: null }, /step 3/],
      [{ op: "scan", expect: [] }, /step 3/],
      [{ op: "scan", expect: [["a", "1"], ["b", "2"]] }, /step 3/],
      [{ op: "put", key: "b", value: "1", expectSeq: 3 }, /sequence number/],
      [{ op: "put", key: "b", value: "1", expectError: "Closed" }, /expected Closed, but it succeeded/],
      [{ op: "put", key: "", value: "1", expectError: "Closed" }, /expected Closed/],
      [{ op: "put", key: "", value: "1" }, /step 3/],
      [{ op: "getKeyValue", key: "a", expect: { value: "1", color: 1 } }, /unknown field color/],
      [{ op: "status", expect: { closeReason: "Clean" } }, /step 3/],
    ];
    for (const [step, message] of wrong) await assert.rejects(run([...some, step]), message);
  });

  it("runScenario refuses operations, fields and names it does not know", async () => {
    await assert.rejects(run([...some, { op: "explode" }]), /unknown operation "explode"/);
    await assert.rejects(
      run([...some, { op: "get", key: "a", expect: "1", scope: "all" }]),
      /get has the unknown field "scope"/,
    );
    await assert.rejects(run([...some, { op: "get", key: "a", expect: "1", on: "db9" }]), /nothing is called db9/);
    await assert.rejects(run([...some, { op: "crash" }, { op: "get", key: "a", expect: "1" }]), /nothing is called db/);
  });

  it("runScenario crashes between the upload of a table and the manifest that names it", async () => {
    const tables = [] as number[];
    const place = PLACES.memory();
    const store = place.store as ReturnType<typeof import("../../src/store/memory_store.ts").memoryStore>;
    const count = () => store.objects().filter((name) => name.includes("/compacted/")).length;
    await runScenario(
      scenario([...some, { op: "crash", at: "afterTableUploadBeforeManifest" }]),
      { store, path: "db", dispose: () => tables.push(count()) },
      "default",
    );
    await runScenario(
      scenario([{ op: "open" }, { op: "get", key: "a", expect: "1" }, { op: "scan", expect: [["a", "1"]] }]),
      { store, path: "db", dispose: () => tables.push(count()) },
      "default",
    );
    assert.deepEqual(tables, [1, 1]);
  });

  it("runScenario lets nothing of a crashed handle reach the store", async () => {
    await run([
      ...some,
      { op: "put", key: "b", value: "2", awaitDurable: false },
      { op: "crash" },
      { op: "advance", ms: 10_000 },
      { op: "open" },
      { op: "scan", expect: [["a", "1"]] },
    ]);
  });

  it("runScenario storeCheck notices what is missing, foreign, too much or too little", async () => {
    const flushed = [...some, { op: "flush", kind: "memtable" }];
    const orphan = { op: "plant", kind: "orphanTable", entries: [["a", "ORPHAN"]] };
    await run([...flushed, { op: "storeCheck", minTables: 1, noTempObjects: true, allReferencedExist: true }]);
    await run([...flushed, orphan, { op: "storeCheck", minTables: 2, unreferencedTables: 1, noTempObjects: true }]);
    const wrong: readonly (readonly [readonly unknown[], RegExp])[] = [
      [[{ op: "storeCheck", minTables: 2 }], /1 tables/],
      [[{ op: "plant", kind: "tempObject" }, { op: "storeCheck", noTempObjects: true }], /foreign names/],
      [[orphan, { op: "storeCheck", unreferencedTables: 0 }], /that nothing reaches, 0 wanted: [0-9A-Z]{26}/],
      [[{ op: "storeCheck", unreferencedTables: 1 }], /that nothing reaches/],
      [[{ op: "storeCheck", fewerTablesThan: "x" }], /nothing was remembered as x/],
      [
        [{ op: "storeCheck", remember: "x" }, { op: "storeCheck", fewerTablesThan: "x" }],
        /1 tables, not fewer than the 1 remembered as x/,
      ],
    ];
    for (const [steps, message] of wrong) await assert.rejects(run([...flushed, ...steps]), message);
  });

  it("runScenario storeCheck follows tables, log and checkpoints from the newest manifest", async () => {
    const steps = [
      ...some,
      { op: "flush", kind: "memtable" },
      { op: "checkpoint", as: "c", scope: "all" },
      { op: "put", key: "b", value: "2" },
      { op: "flush", kind: "memtable" },
      { op: "compact" },
      { op: "put", key: "c", value: "3" },
      { op: "close" },
    ];
    for (const folder of ["compacted", "wal", "manifest"]) {
      const store = memoryStore();
      await runScenario(scenario(steps), { store, path: "db", dispose: () => {} }, "default");
      const check = () =>
        runScenario(
          scenario([{ op: "storeCheck", allReferencedExist: true }]),
          { store, path: "db", dispose: () => {} },
          "default",
        );
      await check();
      const names = store.objects().filter((name) => name.startsWith(`db/${folder}/`));
      let noticed = 0;
      for (const name of names.slice(0, folder === "manifest" ? -1 : undefined)) {
        const body = store.peek(name)!;
        store.remove(name);
        await check().catch((error) => {
          assert.match(String(error), /reached but not there/);
          noticed++;
        });
        store.plant(name, body);
      }
      assert.ok(noticed > 0, `nothing below ${folder} is reached`);
    }
  });

  it("runScenario crashes between the upload of a compaction and the manifest that names it", async () => {
    const tables = [] as number[];
    const store = memoryStore();
    const count = () => store.objects().filter((name) => name.includes("/compacted/")).length;
    const place = { store, path: "db", dispose: () => tables.push(count()) };
    const two = [{ op: "put", key: "b", value: "2" }, { op: "flush", kind: "memtable" }];
    const crash = { op: "crash", at: "afterCompactionUploadBeforeManifest" };
    await runScenario(scenario([...some, { op: "flush", kind: "memtable" }, ...two, crash]), place, "default");
    await runScenario(
      scenario([{ op: "open" }, { op: "storeCheck", unreferencedTables: 1 }, {
        op: "scan",
        expect: [["a", "1"], ["b", "2"]],
      }]),
      place,
      "default",
    );
    assert.deepEqual(tables, [3, 3]);
    await assert.rejects(run([{ op: "open" }, crash]), /nothing to store/);
  });

  it("runScenario readers see what they were opened at and what they have polled", async () => {
    const later = { op: "put", key: "b", value: "2" };
    await run([
      ...some,
      { op: "checkpoint", as: "c", scope: "durable" },
      { op: "openReader", as: "r" },
      later,
      { op: "scan", on: "r", expect: [["a", "1"]] },
      { op: "poll", on: "r" },
      { op: "scan", on: "r", expect: [["a", "1"], ["b", "2"]] },
      { op: "openReader", as: "p", checkpoint: "c" },
      { op: "poll", on: "p" },
      { op: "scan", on: "p", expect: [["a", "1"]] },
      { op: "openReader", as: "t", skipWalReplay: true },
      { op: "scan", on: "t", expect: [] },
    ]);
    await assert.rejects(run([...some, { op: "openReader", as: "r", checkpoint: "c" }]), /nothing is called c/);
    await assert.rejects(run([...some, { op: "poll", on: "db" }]), /db is a database; the step needs a reader/);
    await assert.rejects(
      run([...some, { op: "compact", kind: "wal" }]),
      /compact\.kind must be one of major, minor, tombstone/,
    );
  });

  it("runScenario compacting has either compactor at work", async () => {
    const rows = [0, 1, 2].flatMap((n) => [
      { op: "each", from: 0, count: 20, do: [{ op: "put", key: "k{i:02}", value: `${n}` }] },
      { op: "flush", kind: "memtable" },
    ]);
    for (const number of [0, 1, 2, 3]) {
      const store = memoryStore();
      const steps = [{ op: "open" }, ...rows, { op: "scan", expect: [{ from: 0, count: 20, kv: ["k{i:02}", "2"] }] }];
      await runScenario(
        scenario([...steps, { op: "close" }]),
        { store, path: "db", dispose: () => {} },
        "compacting",
        number,
      );
      const newest = store.objects().filter((name) => name.startsWith("db/manifest/")).at(-1)!;
      assert.ok(decodeManifest(store.peek(newest)!).manifest.compacted.length > 0, `scenario ${number}`);
    }
  });
});
