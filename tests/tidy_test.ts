/**
 * The code's rules about itself, run over the repository, and each of them shown to catch a bad sample.
 *
 * Rules and their wording: `tests/support/tidy_rules.ts` and `tidy_documents.ts`. What is allowed to break one stands in
 * `EXCEPTIONS` below, with the reason.
 *
 * @module
 */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { canRunPrograms, canUseDisk } from "./support/permissions.ts";
import { repositoryPath } from "./support/shared.ts";
import { functionsOf, importsOf, readSource } from "./support/source_text.ts";
import { assert, before, describe, it } from "./support/suite.ts";
import {
  checkCitations,
  checkInvariants,
  checkPlaces,
  checkReferences,
  claimedInvariants,
  definedInvariants,
} from "./support/tidy_documents.ts";
import {
  checkBannedNames,
  checkExceptions,
  checkHeaders,
  checkInternalTags,
  checkLeftovers,
  checkNames,
  checkRanks,
  checkReachable,
  checkSizes,
  type Exception,
  type Files,
  filesOf,
  type Finding,
} from "./support/tidy_rules.ts";

const VIRTUAL_TIME =
  "real turns of the event loop tell when virtual time may move on, and a watchdog ends what never does";
const EXCEPTIONS: readonly Exception[] = [
  { path: "src/env/virtual_clock.ts", what: "setTimeout", reason: VIRTUAL_TIME },
  { path: "src/env/virtual_clock.ts", what: "setImmediate", reason: VIRTUAL_TIME },
  { path: "src/db/runtime.ts", what: "Effect.run", reason: "the one place where the core starts I/O and scopes" },
  { path: "tasks/compaction_thread_entry.ts", what: "Effect.run", reason: "a thread begins with no effect around it" },
  { path: "src/store/store_conformance.ts", what: "Effect.run", reason: "checks are promises, for any test framework" },
  {
    path: "src/store/disk_cache/work_watch.ts",
    what: "Effect.fork",
    reason: "the work of a cache folder has no fiber; its watch ends with it, at the latest when it is given up",
  },
];

/** Folders that hold nothing of ours. */
const OUTSIDE = new Set([".git", "node_modules", "coverage", "history"]);
/** Folders of data; only what explains it is read. */
const DATA = /^tests\/(?:fixtures|testdata)\/(?!.*\.md$)/;

/** Every text file of the repository, by path. */
function readTexts(): Map<string, string> {
  const texts = new Map<string, string>();
  const walk = (folder: string) => {
    for (const entry of readdirSync(repositoryPath(folder), { withFileTypes: true })) {
      const path = folder === "." ? entry.name : `${folder}/${entry.name}`;
      if (entry.isDirectory() && !OUTSIDE.has(entry.name)) walk(path);
      if (entry.isFile() && !DATA.test(path) && /(?:\.(?:ts|md|json)|^(?:\.ci\/run|LICENSE|NOTICE))$/.test(path)) {
        texts.set(path, readFileSync(repositoryPath(path), "utf8"));
      }
    }
  };
  walk(".");
  return texts;
}

const doorsOf = (denoJson: string): string[] => {
  const { exports } = JSON.parse(denoJson) as { exports: Record<string, string> };
  return Object.values(exports).map((path) => path.replace("./", ""));
};

const programsOf = (denoJson: string): string[] => {
  const { tasks } = JSON.parse(denoJson) as { tasks: Record<string, string> };
  return Object.values(tasks).flatMap((task) => task.match(/[\w./]+\.ts\b/g) ?? []);
};

function assertNone(findings: readonly Finding[]): void {
  assert.deepEqual(findings.map(({ path, line, what }) => `${path}${line > 0 ? `:${line}` : ""} ${what}`), []);
}

describe("the repository", { skip: canUseDisk() ? false : "needs to read files (deno test -A)" }, () => {
  const texts = new Map<string, string>();
  let files: Files = new Map();

  before(() => {
    for (const [path, text] of readTexts()) texts.set(path, text);
    files = new Map(
      [...texts].filter(([path]) => path.endsWith(".ts")).map(([path, text]) => [path, readSource(text)]),
    );
  });
  const text = (path: string) => texts.get(path) ?? "";
  const documents = () => [...texts].filter(([path]) => path.endsWith(".md")).map(([, body]) => body).join("\n");

  it("the repository imports down its ranks only", () => assertNone(checkRanks(files)));
  it("the repository has short files and functions", () => assertNone(checkSizes(files)));
  it("the repository uses no banned name", () => assertNone(checkBannedNames(files, EXCEPTIONS)));
  it("the repository needs each of its exceptions", () => assertNone(checkExceptions(files, EXCEPTIONS)));
  it("the repository holds no leftover notes", () => assertNone(checkLeftovers(files)));
  it("the repository says at the top of each file what it is for", () => assertNone(checkHeaders(files)));
  it("the repository hides what is internal", () => assertNone(checkInternalTags(files)));
  it("the repository names its files after what is in them", () => assertNone(checkNames(files)));
  it("the repository has no dead file", () => {
    const json = text("deno.json");
    const dead = checkReachable(files, doorsOf(json), programsOf(json));
    assertNone(dead);
  });
  it("the repository names each invariant in the document, the code and a test", () => {
    assertNone(checkInvariants(files, text("docs/ARCHITECTURE.md")));
  });
  it("the repository names files, functions and tests in its documents that are there", () => {
    for (const path of ["docs/ARCHITECTURE.md", "CONTRIBUTING.md", "README.md"]) {
      assertNone(checkReferences(path, text(path), texts));
    }
  });
  it("the repository explains what its code cites", () => assertNone(checkCitations(files, documents())));
  it("the repository names no machine and no unknown host", () => assertNone(checkPlaces(texts)));
  it("the repository ignores everything that is installed or produced", () => {
    const tracked = readdirSync(repositoryPath(".")).filter((name) => !name.startsWith(".git"));
    const expected =
      ".ci .editorconfig CHANGELOG.md CONTRIBUTING.md LICENSE NOTICE README.md bench coverage deno.json " +
      "deno.lock docs mod.ts node_modules src tasks tests";
    assert.deepEqual(tracked.filter((name) => !expected.split(" ").includes(name)), []);
  });

  const doors = ["mod.ts", "src/testing.ts", "src/cli/main.ts"].filter((door) => existsSync(repositoryPath(door)));
  const onDeno = "Deno" in globalThis && canRunPrograms() && doors.length > 0;
  it("the repository documents every export of its doors", { skip: onDeno ? false : "needs deno" }, () => {
    const lint = spawnSync(process.execPath, ["doc", "--lint", ...doors], {
      cwd: repositoryPath("."),
      encoding: "utf8",
      env: { ...process.env, NO_COLOR: "1" },
    });
    const places = `${lint.stdout}${lint.stderr}`.split(/^error/m).filter((part) => part.startsWith("[missing-jsdoc]"))
      .map((part) => /--> (.*)/.exec(part)?.[1]?.replace(join(repositoryPath("."), "/"), "") ?? part);
    assert.deepEqual(places, []);
  });
});

describe("tidy rules", () => {
  const what = (findings: readonly Finding[]) => findings.map((finding) => `${finding.line} ${finding.what}`);

  it("checkRanks catches imports upward, of actors, and of foreign packages", () => {
    const files = filesOf({
      "src/bytes/a.ts": `import { Effect } from "effect";\nimport { b } from "../lsm/b.ts";`,
      "src/lsm/b.ts": `import type { Bytes } from "../db/api.ts";\nimport { open } from "../db/api.ts";`,
      "src/db/api.ts": `import { t } from "../../tasks/t.ts";`,
      "src/db/open.ts": `import { t } from "../../tasks/t.ts";\nimport x from "lodash";`,
      "tasks/t.ts": `import type { Db } from "../src/db/open.ts";\nexport * from "../src/lsm/b.ts";`,
      "src/stray.ts": "",
      "tests/free.ts": `import "../src/db/open.ts";`,
    });
    assert.deepEqual(checkRanks(files).map((finding) => `${finding.path}:${finding.line}`), [
      "src/bytes/a.ts:1",
      "src/bytes/a.ts:2",
      "src/lsm/b.ts:2",
      "src/db/api.ts:1",
      "src/db/open.ts:2",
      "tasks/t.ts:1",
      "src/stray.ts:0",
    ]);
  });

  it("checkSizes catches long files and functions of every form", () => {
    const body = "{\n" + "  step();\n".repeat(68) + "}";
    const short = "{\n" + "  step();\n".repeat(67) + "}";
    const findings = checkSizes(filesOf({
      "src/long.ts": "// line\n".repeat(400),
      "src/fits.ts": "// line\n".repeat(399),
      "src/forms.ts": [
        `export function plain<A>(a: A, f: () => void): Map<string, { readonly x: number }> ${body}`,
        `function fits(): void ${short}`,
        `class C {\n  override async *method(): AsyncIterable<{ a: 1 }> ${body}\n  #p() ${body}\n  constructor() ${body}\n}`,
        `const f = (a: number) => ${body};`,
        `if (a) ${body}`,
      ].join("\n"),
    }));
    assert.deepEqual(
      findings.map((finding) => finding.what),
      [
        "has 400 lines",
        "has 685 lines",
        "plain has 70 lines",
        "method has 70 lines",
        "#p has 70 lines",
        "constructor has 70 lines",
        "(arrow) has 70 lines",
      ].map((line) => line.replace("685", `${findings[1]?.what.match(/\d+/)}`)),
    );
  });

  it("checkBannedNames sees code and not comments or strings", () => {
    const files = filesOf({
      "src/a.ts":
        `// Date.now()\nconst a = Date . now();\nconst b = "Math.random()" + \`setTimeout \${Math.random()}\`;`,
      "tasks/b.ts": `Effect.forkScoped(x);\nEffect.runPromise(x);\nmyDate.now();\nDeno.cwd();`,
      "src/lsm/c.ts": `Effect.forkScoped(x);\nconst r = /Date.now()/;\nx as any;`,
      "tests/d.ts": `Date.now();\nit.only("x");`,
      "src/e.ts": `class X { constructor(a: readonly X[], private readonly b: number) {} }\nexport enum E { A }`,
    });
    assert.deepEqual(what(checkBannedNames(files, [])), [
      "2 uses Date.now",
      "3 uses Math.random",
      "4 uses Deno",
      "2 uses Effect.run",
      "1 uses Effect.fork",
      "3 uses as any",
      "2 uses .only",
      "2 uses enum",
      "1 uses parameter property",
    ]);
    const exceptions: Exception[] = [
      { path: "src/a.ts", what: "Date.now", reason: "sample" },
      { path: "tasks/", what: "Deno", reason: "sample" },
      { path: "src/e.ts", what: "Date.now", reason: "not needed" },
    ];
    assert.equal(checkBannedNames(files, exceptions).length, 7);
    assert.deepEqual(checkExceptions(files, exceptions).map((finding) => finding.path), ["src/e.ts"]);
  });

  it("checkInternalTags catches a tag that is read as text", () => {
    const files = filesOf({
      "src/a.ts": "/** Does. @internal */\n/** @internal Does. */\n/**\n * Does.\n *\n * @internal\n */",
      "src/b.ts": "/**\n * Does.\n * More @internal\n */",
      "tests/c.ts": "/** Does. @internal */",
    });
    assert.deepEqual(checkInternalTags(files).map(({ path, line }) => [path, line]), [["src/a.ts", 1], [
      "src/b.ts",
      3,
    ]]);
  });

  it("checkLeftovers, checkHeaders and checkNames catch what they are for", () => {
    const note = "TO" + "DO";
    const files = filesOf({
      "src/store/utils.ts": `// ${note}: later`,
      "src/fine.ts": "/**\n * Fine.\n *\n * @module\n */\nexport const a = 1;",
      "src/camelCase.ts": "/** No tag. */",
      "src/common/x.ts": "",
    });
    assert.deepEqual(what(checkLeftovers(files)), [`1 holds the word ${note}`]);
    assert.deepEqual(checkHeaders(files).map((finding) => finding.path), [
      "src/store/utils.ts",
      "src/camelCase.ts",
      "src/common/x.ts",
    ]);
    assert.deepEqual(checkNames(files).map((finding) => finding.path), [
      "src/store/utils.ts",
      "src/camelCase.ts",
      "src/common/x.ts",
    ]);
  });

  it("checkReachable catches product files that only tests reach", () => {
    const files = filesOf({
      "mod.ts": `export * from "./src/a.ts";`,
      "src/a.ts": `const w = new URL("./worker.ts", import.meta.url);`,
      "src/worker.ts": "",
      "src/tested_only.ts": "",
      "tests/a_test.ts": `import "../src/tested_only.ts";\nimport "./support/s.ts";`,
      "tests/support/s.ts": "",
      "tests/support/dead.ts": "",
      "tests/support/program.ts": "",
    });
    assert.deepEqual(checkReachable(files, ["mod.ts"], ["tests/support/program.ts"]).map((finding) => finding.path), [
      "src/tested_only.ts",
      "tests/support/dead.ts",
    ]);
  });

  it("checkInvariants compares document, code and tests", () => {
    const document = "- **W1** one\n- **M2** two\n- **R9** nine\n\nL0 is no invariant";
    assert.deepEqual([...definedInvariants(document)], ["W1", "M2", "R9"]);
    const sample = [
      "/**\n * Invariants: W1 numbers rise (see L0); M2 tables\n * are stored, as V2 needs.\n *\n * S3 is a store. \n */",
      'assertInvariant(x > 1, "Q4", "L0 view");',
    ].join("\n");
    assert.deepEqual([...claimedInvariants(sample).keys()], ["W1", "M2", "Q4"]);
    assert.deepEqual([...claimedInvariants("// swapped whole (invariant V1).\nL0; S3")].map(([id]) => id), ["V1"]);
    const files = filesOf({ "src/a.ts": sample, "tests/a_test.ts": 'it("x keeps y (W1)"); it("R9 holds"); // M2' });
    assert.deepEqual(checkInvariants(files, document).map((finding) => finding.what), [
      "claims invariant Q4, unknown to ARCHITECTURE.md",
      "invariant M2 is named by no test",
      "invariant R9 is claimed nowhere in the code",
    ]);
  });

  it("checkCitations wants decisions and known problems explained", () => {
    const files = filesOf({ "src/a.ts": "// decision D7, decision D8 (K-4, K-5)" });
    assert.deepEqual(checkCitations(files, "D7 … K-5").map((finding) => finding.what), [
      "cites D8, which no document explains",
      "cites K-4, which no document explains",
    ]);
  });

  it("checkReferences catches files, functions and tests that are not there", () => {
    const texts = new Map([["src/a.ts", "function keep() {}"], ["tests/a_test.ts", 'it("W1 holds", f)']]);
    const item = (id: string, where: string) => `- **${id}** x. Enforced: ${where}. Tested: \`tests/a_test.ts\`.`;
    assert.deepEqual(checkReferences("D.md", item("W1", "`src/a.ts` (`A.keep`, one put)"), texts), []);
    const found = checkReferences(
      "D.md",
      [item("W1", "`src/b.ts`"), item("M1", "`src/a.ts`\n  (`lost`)"), "- **Q1** y"].join("\n"),
      texts,
    );
    assert.deepEqual(found.map((finding) => finding.what), [
      "names src/b.ts, which is not there",
      "names lost, which is not in src/a.ts",
      "tests/a_test.ts does not name M1",
      "says of no test that it tries to break Q1",
    ]);
  });

  it("checkPlaces catches machine paths and unknown hosts", () => {
    const texts = new Map([
      ["a.md", `see /${"home"}/ann/x, ~/${"tmp"}/x and https://github.com/slatedb/slatedb`],
      ["b.json", `"url": "https://${"registry"}.internal:4873/x"`],
    ]);
    assert.deepEqual(checkPlaces(texts).map((finding) => finding.path), ["a.md", "b.json"]);
  });

  it("readSource and importsOf keep apart code, strings, templates and regular expressions", () => {
    const source = readSource("const a = /[/'\"`]/.test(b) ? `x ${c + `${'}'}`} y` : d / e / f; // end\ng();");
    assert.equal(source.code.length, source.raw.length);
    assert.match(source.code, /c \+ /);
    assert.match(source.code, /d \/ e \/ f; {7}\ng\(\);$/);
    assert.doesNotMatch(source.code, /test\b.*y/);
    const edges = importsOf(readSource(
      `import a, { type B } from "./a.ts";\nimport { type C } from "./c.ts";\nexport {\n  d,\n} from "./d.ts";\n// import "./no.ts";\n`,
    ));
    assert.deepEqual(edges.map((edge) => [edge.specifier, edge.typeOnly, edge.line]), [
      ["./a.ts", false, 1],
      ["./c.ts", true, 2],
      ["./d.ts", false, 3],
    ]);
    assert.deepEqual(
      functionsOf(readSource("interface I { m(): void; }\nabstract class A { abstract n(): void; }")),
      [],
    );
  });
});
