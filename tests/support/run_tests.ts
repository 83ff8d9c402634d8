/**
 * Runs the suite and ends with the one plain line a build log is read for: `N passed, N failed`.
 *
 * ```text
 * deno run -A tests/support/run_tests.ts [--bun] [--node] [--interop] [--keep] [only these files…]
 * ```
 *
 * Without flags: the suite and the documentation examples on Deno. `--bun` and `--node` run the same files there,
 * `--interop` runs `tests/interop` beside the official SlateDB binding. Runners write into log files and work two at a
 * time; only the log of one that failed is shown.
 *
 * Invariants: a runner that does not start, is stopped, or ends badly without naming a failed test counts as one
 * failure; so does a group in which no test ran. The closing line never says `0 failed` then.
 *
 * @module
 */
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, statfsSync } from "node:fs";
import { spawn } from "node:child_process";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import process from "node:process";
import { installBinding } from "./interop_binding.ts";
import { leftOut, readJunit, tally, type TestCase } from "./junit.ts";
import { repositoryPath } from "./shared.ts";

/** One runner with its files. */
interface Group {
  readonly label: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** What came of a group. */
interface Outcome {
  readonly label: string;
  readonly tests: readonly TestCase[];
  /** Set when the group failed in a way that its report does not show. */
  readonly trouble: string | undefined;
  readonly log: string;
  readonly seconds: number;
}

/** A hung runner is ended after this long. */
const GROUP_LIMIT_MILLIS = 10 * 60_000;
/** Where Linux keeps files in memory, and how much room it must have to be used. */
const MEMORY_FOLDER = "/dev/shm";
const MEMORY_FOLDER_MIN_BYTES = 2 ** 30;
/** Lines of a failed runner's log that are shown. */
const LOG_TAIL_LINES = 120;

/** Runs one group to its end, output and report into `folder`. */
async function run(group: Group, folder: string): Promise<Outcome> {
  const started = performance.now();
  const logPath = join(folder, `${group.label}.log`);
  const reportPath = join(folder, `${group.label}.xml`);
  const log = openSync(logPath, "w");
  const ended = await new Promise<string | undefined>((resolve) => {
    const child = spawn(group.command, group.args.map((arg) => arg.replace("{report}", reportPath)), {
      cwd: repositoryPath("."),
      env: { ...process.env, NO_COLOR: "1", TMPDIR: join(folder, "tmp"), ...group.env },
      stdio: ["ignore", log, log],
    });
    const limit = setTimeout(() => child.kill("SIGKILL"), GROUP_LIMIT_MILLIS);
    child.on("error", (error) => {
      clearTimeout(limit);
      resolve(`cannot start ${group.command}: ${error.message}`);
    });
    child.on("exit", (code, signal) => {
      clearTimeout(limit);
      resolve(code === 0 ? undefined : signal === null ? `ended with code ${code}` : `stopped by ${signal}`);
    });
  });
  closeSync(log);
  const tests = existsSync(reportPath) ? readJunit(readFileSync(reportPath, "utf8")) : [];
  const count = tally(tests);
  const trouble = count.failed > 0
    ? undefined
    : ended ?? (count.passed === 0 ? "no test ran, and that is no success" : undefined);
  const seconds = (performance.now() - started) / 1000;
  return { label: group.label, tests, trouble, log: readFileSync(logPath, "utf8"), seconds };
}

/** Prints one line for a group that passed; failures and the end of the log for one that did not. */
function report({ label, tests, trouble, log, seconds }: Outcome): { passed: number; failed: number } {
  const { passed, failed, skipped } = tally(tests);
  const failures = trouble === undefined ? failed : failed + 1;
  const parts = [`${label}: ${passed} passed, ${failures} failed`];
  if (skipped > 0) parts.push(`${skipped} skipped`);
  console.log(`${parts.join(", ")} (${seconds.toFixed(1)} s)`);
  const groups = [...leftOut(tests)].map(([group, count]) => `${group} (${count})`);
  if (groups.length > 0) console.log(`  left out: ${groups.join("; ")}`);
  if (failures > 0) {
    const lines = log.trimEnd().split("\n");
    console.log(`---- ${label}: last ${Math.min(lines.length, LOG_TAIL_LINES)} of ${lines.length} lines`);
    console.log(lines.slice(-LOG_TAIL_LINES).join("\n"));
    console.log(`---- ${label}: what failed`);
    if (trouble !== undefined) console.log(`  ${trouble}`);
    for (const { path, outcome, message } of tests) {
      if (outcome === "failed") console.log(`  ${path.join(" > ")}: ${message.split("\n")[0]}`);
    }
  }
  return { passed, failed: failures };
}

/** The runners that the flags ask for; `files` narrows them to those test files. */
function plan(flags: ReadonlySet<string>, files: readonly string[]): Group[] {
  const some = files.length > 0;
  const onDeno = (label: string, args: readonly string[]): Group => {
    return { label, command: process.execPath, args: ["test", "-A", "--junit-path={report}", ...args] };
  };
  // Types are what `deno task check` is for.
  const groups = [onDeno("deno", ["--no-check", ...(some ? files : ["tests"])])];
  const documented = ["mod.ts", "src/testing.ts", "README.md"].filter((file) => existsSync(repositoryPath(file)));
  if (!some) groups.push(onDeno("docs", ["--doc", ...documented]));
  if (flags.has("--bun")) {
    groups.push({
      label: "bun",
      command: "npx",
      args: [
        "--yes",
        "bun@1.4.5",
        "test",
        "--timeout=60000",
        "--reporter=junit",
        "--reporter-outfile={report}",
        ...(some ? files.map((file) => resolve(repositoryPath("."), file)) : ["./tests"]),
      ],
    });
  }
  if (flags.has("--node")) groups.push(onNode("node", some ? files : ["tests/**/*_test.ts"], {}));
  if (flags.has("--interop")) {
    const binding = installBinding();
    const env: Record<string, string> = binding.folder === undefined ? {} : { PHYLLITE_INTEROP: binding.folder };
    if (binding.trouble !== undefined) console.log(`interop: ${binding.trouble}`);
    groups.push(onNode("interop", ["tests/interop/**/*_test.ts"], env));
  }
  return groups;
}

function onNode(label: string, files: readonly string[], env: Readonly<Record<string, string>>): Group {
  return {
    label,
    command: "npx",
    args: [
      "--yes",
      "node@22.23.3",
      "--no-warnings",
      "--test",
      // One process for all files: starting one per file costs more than the tests.
      "--experimental-test-isolation=none",
      // A database that a test lets die keeps its timers, such as the collector's of ten minutes.
      "--test-force-exit",
      "--test-reporter=spec",
      "--test-reporter-destination=stdout",
      "--test-reporter=junit",
      "--test-reporter-destination={report}",
      ...files,
    ],
    env,
  };
}

/** Runs the groups, two at a time, and reports each as it ends. */
async function runAll(groups: readonly Group[], folder: string): Promise<{ passed: number; failed: number }> {
  const waiting = [...groups];
  const total = { passed: 0, failed: 0 };
  const lane = async () => {
    for (let group = waiting.shift(); group !== undefined; group = waiting.shift()) {
      const { passed, failed } = report(await run(group, folder));
      total.passed += passed;
      total.failed += failed;
    }
  };
  await Promise.all([lane(), lane()]);
  return total;
}

/**
 * A folder for everything temporary, in memory where the system has such a place with room: tests wait for thousands of
 * fsyncs, and none of them can tell what an fsync did.
 */
function workFolder(): string {
  const roots = [tmpdir()];
  try {
    const { bavail, bsize } = statfsSync(MEMORY_FOLDER);
    if (bavail * bsize >= MEMORY_FOLDER_MIN_BYTES) roots.unshift(MEMORY_FOLDER);
  } catch {
    // No such place here.
  }
  for (const root of roots) {
    try {
      const folder = mkdtempSync(join(root, "phyllite-tests-"));
      mkdirSync(join(folder, "tmp"));
      return folder;
    } catch {
      // Not writable: the next one.
    }
  }
  throw new Error("no temporary folder is writable");
}

/** Parses the command line, runs, prints the closing line and answers the exit code. */
async function main(argv: readonly string[]): Promise<number> {
  const known = new Set(["--bun", "--node", "--interop", "--keep"]);
  const flags = new Set(argv.filter((arg) => arg.startsWith("--")));
  const unknown = [...flags].filter((flag) => !known.has(flag));
  if (unknown.length > 0) {
    console.log(`Unknown flag ${unknown.join(", ")}; known: ${[...known].join(", ")}`);
    console.log("0 passed, 1 failed");
    return 1;
  }
  const folder = workFolder();
  try {
    const groups = plan(flags, argv.filter((arg) => !arg.startsWith("--")));
    console.log(`running ${groups.map((group) => group.label).join(", ")}`);
    const { passed, failed } = await runAll(groups, folder);
    const missing = ["--bun", "--node", "--interop"].filter((flag) => !flags.has(flag));
    if (missing.length > 0) console.log(`not asked for: ${missing.join(" ")} (all of them: deno task test:all)`);
    console.log(`${passed} passed, ${failed} failed`);
    return failed === 0 ? 0 : 1;
  } finally {
    if (flags.has("--keep")) console.error(`logs and reports: ${folder}`);
    else rmSync(folder, { recursive: true, force: true });
  }
}

if (import.meta.main) process.exit(await main(process.argv.slice(2)));
