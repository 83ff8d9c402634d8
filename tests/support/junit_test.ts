/**
 * The counting of JUnit reports, on reports as the three runners wrote them.
 *
 * @module
 */
import { leftOut, readJunit, tally } from "./junit.ts";
import { assert, describe, it } from "./suite.ts";

const DENO = `<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="deno test" tests="9" failures="3" errors="0" time="0.072">
  <testsuite name="./tests/a_test.ts" tests="4">
    <testcase name="outer &lt;x&gt;" classname="./tests/a_test.ts" time="0.006" line="3" col="1">
      <failure message="1 test step failed">1 test step failed.</failure>
    </testcase>
    <testcase name="hook" classname="./tests/a_test.ts" time="0.000">
      <failure message="Uncaught Error: hook">Error: hook</failure>
    </testcase>
    <testcase name="skipped group" classname="./tests/a_test.ts"><skipped/></testcase>
    <testcase name="top" classname="./tests/a_test.ts"></testcase>
  </testsuite>
  <testsuite name="ext:deno_node/testing.ts" tests="4">
    <testcase name="outer &lt;x&gt; &gt; passes" classname="ext:deno_node/testing.ts"></testcase>
    <testcase name="outer &lt;x&gt; &gt; fails" classname="ext:deno_node/testing.ts">
      <failure message="bad &lt;thing&gt; &amp; &quot;q&quot;">1 !== 2</failure>
    </testcase>
    <testcase name="outer &lt;x&gt; &gt; inner" classname="ext:deno_node/testing.ts"></testcase>
    <testcase name="outer &lt;x&gt; &gt; inner &gt; deep" classname="ext:deno_node/testing.ts"></testcase>
  </testsuite>
</testsuites>`;

const NODE = `<testsuites>
  <testsuite name="outer &lt;x>" time="0.001" tests="3">
    <testcase name="passes" time="0.0004" classname="test"/>
    <testcase name="fails" classname="test" failure="1 !== 2"><failure type="t" message="1 !== 2">[x] { a: 1 }</failure></testcase>
    <testcase name="away" classname="test"><skipped type="skipped" message="no disk"/></testcase>
    <testsuite name="inner" tests="1"><testcase name="deep" classname="test"/></testsuite>
  </testsuite>
  <testcase name="top" classname="test"/>
  <!-- tests 5 -->
</testsuites>`;

const BUN = `<testsuites name="bun test" tests="3">
  <testsuite name="tests/a_test.ts" file="tests/a_test.ts">
    <testsuite name="outer" file="tests/a_test.ts">
      <testcase name="passes" classname="outer" />
      <testcase name="later" classname="outer"><skipped message="not yet" /></testcase>
    </testsuite>
    <testcase name="top" classname="" time="0.000008" />
  </testsuite>
</testsuites>`;

describe("readJunit", () => {
  it("readJunit leaves out Deno's groups and keeps one that failed by itself", () => {
    const tests = readJunit(DENO);
    assert.deepEqual(tally(tests), { passed: 3, failed: 2, skipped: 1 });
    assert.deepEqual(
      tests.filter((test) => test.outcome === "failed").map((test) => [...test.path, test.message]),
      [["hook", "Uncaught Error: hook"], ["outer <x>", "fails", 'bad <thing> & "q"']],
    );
  });

  it("readJunit follows Node's nested suites", () => {
    const tests = readJunit(NODE);
    assert.deepEqual(tally(tests), { passed: 3, failed: 1, skipped: 1 });
    assert.deepEqual(tests.at(-2)?.path, ["outer <x>", "inner", "deep"]);
    assert.deepEqual([...leftOut(tests)], [["outer <x>", 1]]);
  });

  it("readJunit drops Bun's file suites from names", () => {
    const tests = readJunit(BUN);
    assert.deepEqual(tally(tests), { passed: 2, failed: 0, skipped: 1 });
    assert.deepEqual(tests[0]?.path, ["outer", "passes"]);
  });

  it("readJunit finds nothing in what is no report", () => {
    assert.deepEqual(readJunit("Segmentation fault"), []);
    assert.deepEqual(readJunit(""), []);
  });
});
