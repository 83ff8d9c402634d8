/**
 * Runs the suite and ends with the one plain line a build log is read for: `N passed, N failed`.
 *
 * ```text
 * deno run -A tests/support/run_tests.ts [--bun] [--node | --node-platform] [--interop] [--s3] [--keep] [only these files…]
 * ```
 *
 * Without flags: the suite and the documentation examples on Deno. `--bun` and `--node` run the same files there,
 * `--node-platform` only those that touch the platform,
 * `--interop` runs `tests/interop` beside the official SlateDB binding, `--s3` starts real S3 servers and runs
 * `tests/s3` on them (with both of these, the binding is tested on S3 too). Runners write into log files and work two at
 * a time; only the log of one that failed is shown.
 *
 * Invariants: a runner that does not start, is stopped, or ends badly without naming a failed test counts as one
 * failure; so does a group in which no test ran, and a server that can be had and does not start. The closing line never
 * says `0 failed` then. Whatever happens to this program, runners and servers end with it.
 *
 * @module
 */
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from "node:fs";
import { type ChildProcess, spawn } from "node:child_process";
import { tmpdir } from "node:os";
import { join, relative, resolve } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { installBinding } from "./interop_binding.ts";
import { leftOut, readJunit, tally, type TestCase } from "./junit.ts";
import { ServersForRun } from "./s3_run.ts";
import { repositoryPath } from "./shared.ts";

/** One runner with its files. */
interface Group {
  readonly label: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** What must be there first: answers more variables, or undefined when the group is left out. */
  readonly needs?: () => Promise<Readonly<Record<string, string>> | undefined>;
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

/** Runners at work, each the leader of a process group. */
const running = new Set<ChildProcess>();

/** Kills a runner and what it has started. */
function killRunner(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, "SIGKILL");
  } catch {
    // It has ended.
  }
}

/** Runs one group to its end, output and report into `folder`; undefined when it is left out. */
async function run(group: Group, folder: string): Promise<Outcome | undefined> {
  const more = group.needs === undefined ? {} : await group.needs();
  if (more === undefined) return undefined;
  const started = performance.now();
  const logPath = join(folder, `${group.label}.log`);
  const reportPath = join(folder, `${group.label}.xml`);
  const log = openSync(logPath, "w");
  const ended = await new Promise<string | undefined>((resolve) => {
    const child = spawn(group.command, group.args.map((arg) => arg.replace("{report}", reportPath)), {
      cwd: repositoryPath("."),
      env: { ...process.env, NO_COLOR: "1", TMPDIR: join(folder, "tmp"), ...group.env, ...more },
      stdio: ["ignore", log, log],
      detached: true,
    });
    running.add(child);
    const limit = setTimeout(() => killRunner(child), GROUP_LIMIT_MILLIS);
    child.on("error", (error) => {
      clearTimeout(limit);
      running.delete(child);
      resolve(`cannot start ${group.command}: ${error.message}`);
    });
    child.on("exit", (code, signal) => {
      clearTimeout(limit);
      running.delete(child);
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

/** Files that need a real S3 server. */
const S3_FOLDER = "tests/s3";
/** Files that need the official binding. */
const INTEROP_FOLDER = "tests/interop";
/** Those of them that also run on Node, for the official binding. */
const S3_ON_NODE = ["tests/s3/end_to_end_test.ts", "tests/s3/official_test.ts"];

/** What touches the platform: the rest computes, on the same V8 as on Deno. */
const PLATFORM_ON_NODE = [
  "tests/{bytes,env,store,tasks,cli}/**/*_test.ts",
  "tests/regressions/{compactor_closing,dead_links,disk_cache_*,hung_*,preload,s3_*,starved_event_loop}_test.ts",
  "tests/db/{db,crash_files,clone,reader_managed,reader_follow,disk_cache,preload,s3_location,metrics,unmounted}_test.ts",
];

/** Test files that share an isolate: what they leave behind stays in memory until its end. */
const FILES_PER_ISOLATE = 60;

/**
 * Files that import all test files, many each: Deno starts an isolate for every file it is given, and loading the engine
 * anew two hundred times costs more than a minute. Bun and Node take them into one process as they are.
 */
function suiteInFew(folder: string): string[] {
  const tests = repositoryPath("tests");
  const files = readdirSync(tests, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith("_test.ts"));
  const imports = files.sort().map((file) => `import "${pathToFileURL(join(tests, file))}";\n`);
  return Array.from({ length: Math.ceil(imports.length / FILES_PER_ISOLATE) }, (_, part) => {
    const path = join(folder, `suite_${part}_test.ts`);
    writeFileSync(path, imports.slice(part * FILES_PER_ISOLATE, (part + 1) * FILES_PER_ISOLATE).join(""));
    return path;
  });
}

function isIn(folder: string, file: string): boolean {
  return !relative(repositoryPath(folder), resolve(repositoryPath("."), file)).startsWith("..");
}

/** The runners that the flags ask for; `files` narrows them to those test files. */
function plan(
  flags: ReadonlySet<string>,
  files: readonly string[],
  servers: ServersForRun | undefined,
  folder: string,
): Group[] {
  const some = files.length > 0;
  const plain = some ? files.filter((file) => servers === undefined || !isIn(S3_FOLDER, file)) : ["tests"];
  const groups: Group[] = [];
  // Types are what `deno task check` is for.
  // Bun goes all the ways of the op-scripts, in a quarter of the time.
  const env: Record<string, string> = flags.has("--bun") && !some ? { PHYLLITE_OP_SCRIPTS: "some" } : {};
  const inFew = some ? plain : ["--config=deno.json", ...suiteInFew(folder)];
  if (plain.length > 0) groups.push({ ...onDeno("deno", ["--no-check", ...inFew]), env });
  const documented = ["mod.ts", "src/testing.ts", "README.md"].filter((file) => existsSync(repositoryPath(file)));
  if (!some) groups.push(onDeno("docs", ["--doc", ...documented]));
  if (flags.has("--bun") && plain.length > 0) groups.push(onBun("bun", plain));
  const allOnNode = flags.has("--node");
  if ((allOnNode || flags.has("--node-platform")) && plain.length > 0) {
    groups.push(onNode("node", some ? plain : allOnNode ? ["tests/**/*_test.ts"] : PLATFORM_ON_NODE, {}));
  }
  const interop: Record<string, string> = {};
  if (flags.has("--interop")) {
    const binding = installBinding();
    if (binding.folder !== undefined) interop["PHYLLITE_INTEROP"] = binding.folder;
    if (binding.trouble !== undefined) console.log(`interop: ${binding.trouble}`);
    const named = files.filter((file) => isIn(INTEROP_FOLDER, file));
    if (!some || named.length > 0) {
      groups.push(onNode("interop", some ? named : [`${INTEROP_FOLDER}/**/*_test.ts`], interop));
    }
  }
  if (servers !== undefined) {
    groups.push(...onS3(some ? files.filter((file) => isIn(S3_FOLDER, file)) : undefined, servers, interop));
  }
  return groups;
}

/** The runners on real servers, with all their files or with some. */
function onS3(
  files: readonly string[] | undefined,
  servers: ServersForRun,
  interop: Readonly<Record<string, string>>,
): Group[] {
  if (files?.length === 0) return [];
  const groups = [
    onDeno("s3-deno", ["--no-check", ...(files ?? [S3_FOLDER])]),
    onBun("s3-bun", files ?? [S3_FOLDER]),
  ];
  const node = files ?? S3_ON_NODE;
  if ("PHYLLITE_INTEROP" in interop) groups.push(onNode("s3-node", node, interop));
  return groups.map((group) => ({ ...group, needs: () => servers.environment() }));
}

function onDeno(label: string, args: readonly string[]): Group {
  return { label, command: process.execPath, args: ["test", "-A", "--junit-path={report}", ...args] };
}

function onBun(label: string, files: readonly string[]): Group {
  const options = ["--timeout=60000", "--reporter=junit", "--reporter-outfile={report}"];
  const paths = files.map((file) => resolve(repositoryPath("."), file));
  return { label, command: "npx", args: ["--yes", "bun@1.4.5", "test", ...options, ...paths] };
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

/**
 * Runs the groups, two at a time, and beside them one that waits for a server most of the time; reports each as it ends.
 */
async function runAll(groups: readonly Group[], folder: string): Promise<{ passed: number; failed: number }> {
  const total = { passed: 0, failed: 0 };
  const lane = async (waiting: Group[]) => {
    for (let group = waiting.shift(); group !== undefined; group = waiting.shift()) {
      const outcome = await run(group, folder);
      if (outcome === undefined) continue;
      const { passed, failed } = report(outcome);
      total.passed += passed;
      total.failed += failed;
    }
  };
  const busy = groups.filter(({ needs }) => needs === undefined);
  await Promise.all([lane(busy), lane(busy), lane(groups.filter(({ needs }) => needs !== undefined))]);
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

const FLAGS = ["--bun", "--node", "--interop", "--s3"];

/** Parses the command line, runs, prints the closing line and answers the exit code. */
async function main(argv: readonly string[]): Promise<number> {
  const known = [...FLAGS, "--node-platform", "--keep"];
  const flags = new Set(argv.filter((arg) => arg.startsWith("--")));
  const unknown = [...flags].filter((flag) => !known.includes(flag));
  if (unknown.length > 0) {
    console.log(`Unknown flag ${unknown.join(", ")}; known: ${known.join(", ")}`);
    console.log("0 passed, 1 failed");
    return 1;
  }
  const folder = workFolder();
  const clean = () => {
    if (!flags.has("--keep")) rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 20 });
  };
  const servers = flags.has("--s3") ? new ServersForRun() : undefined;
  endOnSignals(() => {
    for (const child of running) killRunner(child);
    clean();
  });
  try {
    const groups = plan(flags, argv.filter((arg) => !arg.startsWith("--")), servers, folder);
    console.log(`running ${groups.map((group) => group.label).join(", ")}`);
    const { passed, failed } = await runAll(groups, folder);
    const missing = FLAGS.filter((flag) => !flags.has(flag));
    if (missing.length > 0) console.log(`not asked for: ${missing.join(" ")} (all of them: deno task test:all)`);
    const troubles = await servers?.stop() ?? 0;
    console.log(`${passed} passed, ${failed + troubles} failed`);
    return failed + troubles === 0 ? 0 : 1;
  } finally {
    await servers?.stop();
    if (flags.has("--keep")) console.error(`logs and reports: ${folder}`);
    clean();
  }
}

/** Ends this program in order when it is told to end. S3 servers end by themselves when it does. */
function endOnSignals(clean: () => void): void {
  for (const [signal, code] of [["SIGINT", 130], ["SIGTERM", 143], ["SIGHUP", 129]] as const) {
    process.on(signal, () => {
      clean();
      console.log("0 passed, 1 failed");
      process.exit(code);
    });
  }
}

if (import.meta.main) process.exit(await main(process.argv.slice(2)));
