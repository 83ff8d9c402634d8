/**
 * Reads the JUnit reports of the three test runners and counts the tests in them.
 *
 * The runners agree on the element names and on little else: Bun and Node nest a `testsuite` per `describe`, Deno lists
 * every `describe` as a test case of its own ("outer", then "outer > test") and puts nested ones under a suite of its
 * own making; Node writes a bare `>` inside attributes. So the report is walked tag by tag, and a Deno case that others
 * continue is taken for the group it is.
 *
 * Invariants: a failure is never dropped (a group that failed although none of its tests did, say in a hook, counts as
 * a failed test); skipped tests count neither as passed nor as failed.
 *
 * @module
 */

/** One test of a report. */
export interface TestCase {
  /** Names from the outermost group to the test. */
  readonly path: readonly string[];
  readonly outcome: "passed" | "failed" | "skipped";
  /** What the report says about a failure. */
  readonly message: string;
}

/** What a runner found. */
export interface Tally {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

/** A test case while its element is open. */
interface OpenCase {
  readonly path: string[];
  failed: boolean;
  skipped: boolean;
  message: string;
}

const TOKEN = /<!--[\s\S]*?-->|<!\[CDATA\[([\s\S]*?)\]\]>|<(\/?)([\w:.-]+)((?:\s+[\w:.-]+\s*=\s*"[^"]*")*)\s*(\/?)>/g;
const ENTITIES: Readonly<Record<string, string>> = { lt: "<", gt: ">", amp: "&", quot: '"', apos: "'" };

function unescapeXml(text: string): string {
  return text.replace(/&(#x?[0-9a-fA-F]+|\w+);/g, (whole, name: string) => {
    if (!name.startsWith("#")) return ENTITIES[name] ?? whole;
    const code = name[1] === "x" ? parseInt(name.slice(2), 16) : parseInt(name.slice(1), 10);
    return code <= 0x10ffff ? String.fromCodePoint(code) : whole;
  });
}

function attribute(attributes: string, name: string): string {
  return unescapeXml(new RegExp(`\\s${name}\\s*=\\s*"([^"]*)"`).exec(attributes)?.[1] ?? "");
}

/** Whether a suite stands for a file or a runner's own bookkeeping, and so is no part of a test's name. */
function isFileSuite(name: string): boolean {
  return /\.m?[jt]s$/.test(name) || name.startsWith("ext:") || name.includes("#");
}

/**
 * Every test of a report, groups left out.
 *
 * @param xml a JUnit report as Deno 2.9, Bun 1.4 or Node 22 writes it
 * @returns the tests in the order of the report
 */
export function readJunit(xml: string): TestCase[] {
  const found: OpenCase[] = [];
  const suites: string[] = [];
  let open: OpenCase | undefined;
  const close = (element: string) => {
    if (element === "testsuite") suites.pop();
    if (element === "testcase" && open !== undefined) {
      found.push(open);
      open = undefined;
    }
  };
  for (const match of xml.matchAll(TOKEN)) {
    const [, , slash, element, attributes = "", selfClosing] = match;
    if (element === undefined) continue;
    if (slash === "/") {
      close(element);
      continue;
    }
    if (element === "testsuite") suites.push(attribute(attributes, "name"));
    if (element === "testcase") {
      const groups = suites.filter((name) => !isFileSuite(name));
      open = { path: [...groups, attribute(attributes, "name")], failed: false, skipped: false, message: "" };
    }
    if (open !== undefined && (element === "failure" || element === "error")) {
      open.failed = true;
      open.message = attribute(attributes, "message");
    }
    if (open !== undefined && element === "skipped") open.skipped = true;
    if (selfClosing === "/") close(element);
  }
  return withoutGroups(found);
}

/** Drops the cases that only group others, and splits the names that Deno joins with " > ". */
function withoutGroups(cases: readonly OpenCase[]): TestCase[] {
  const groups = new Set<string>();
  const failedInside = new Set<string>();
  for (const { path, failed } of cases) {
    const name = path.join(" > ");
    for (let at = name.indexOf(" > "); at > 0; at = name.indexOf(" > ", at + 1)) {
      groups.add(name.slice(0, at));
      if (failed) failedInside.add(name.slice(0, at));
    }
  }
  const tests: TestCase[] = [];
  for (const { path, failed, skipped, message } of cases) {
    const name = path.join(" > ");
    if (groups.has(name) && (!failed || failedInside.has(name))) continue;
    tests.push({ path: name.split(" > "), outcome: failed ? "failed" : skipped ? "skipped" : "passed", message });
  }
  return tests;
}

/** Counts tests by outcome. */
export function tally(tests: readonly TestCase[]): Tally {
  const count = (outcome: TestCase["outcome"]) => tests.filter((test) => test.outcome === outcome).length;
  return { passed: count("passed"), failed: count("failed"), skipped: count("skipped") };
}

/** The groups that skipped tests, with how many each: what a run left out. */
export function leftOut(tests: readonly TestCase[]): ReadonlyMap<string, number> {
  const byGroup = new Map<string, number>();
  for (const { path, outcome } of tests) {
    const group = path[0] ?? "";
    if (outcome === "skipped") byGroup.set(group, (byGroup.get(group) ?? 0) + 1);
  }
  return byGroup;
}
