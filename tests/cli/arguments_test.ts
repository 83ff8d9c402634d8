import { type CommandSpec, nearest, parseArguments } from "../../src/cli/arguments.ts";
import { commandHelp, overview } from "../../src/cli/help.ts";
import { UsageError } from "../../src/cli/usage_error.ts";
import { assert, describe, it } from "../support/suite.ts";

const SPEC: CommandSpec = {
  name: "sample",
  summary: "Do a thing",
  details: "More about it.",
  positions: [{ name: "location", about: "where" }, { name: "key", about: "which", optional: true }],
  flags: [
    { name: "json", kind: "switch", about: "as JSON" },
    { name: "limit", kind: "count", value: "N", about: "how many" },
    { name: "prefix", kind: "bytes", value: "KEY", about: "which" },
    { name: "merge", kind: "choice", choices: ["concat", "u64add"], about: "how" },
    { name: "to", kind: "text", about: "where to" },
    { name: "expires-in", kind: "span", about: "when" },
  ],
  examples: ["phyllite sample x"],
};

const refusal = (...argv: string[]): string => {
  try {
    parseArguments(SPEC, argv);
  } catch (error) {
    assert.ok(error instanceof UsageError, String(error));
    return error.message;
  }
  assert.fail(`${argv.join(" ")} was accepted`);
};

describe("parseArguments", () => {
  it("parseArguments takes positions and flags in any order and both spellings", () => {
    const args = parseArguments(SPEC, [
      "--limit=12",
      "here",
      "--json",
      "--prefix",
      "hex:00ff",
      "--merge",
      "concat",
      "k",
    ]);
    assert.equal(args.position("location"), "here");
    assert.equal(args.optionalPosition("key"), "k");
    assert.equal(args.count("limit"), 12);
    assert.equal(args.on("json"), true);
    assert.deepEqual(args.bytes("prefix"), new Uint8Array([0, 255]));
    assert.equal(args.text("merge"), "concat");
    assert.equal(args.text("to"), undefined);
    assert.equal(args.count("expires-in"), undefined);
  });

  it("parseArguments takes what looks like a flag after -- and a lone dash as positions", () => {
    const args = parseArguments(SPEC, ["--", "--json", "-"]);
    assert.equal(args.position("location"), "--json");
    assert.equal(args.optionalPosition("key"), "-");
    assert.equal(args.on("json"), false);
    assert.equal(parseArguments(SPEC, ["-"]).position("location"), "-");
    assert.equal(parseArguments(SPEC, ["x", "--to=--json"]).text("to"), "--json");
    assert.equal(parseArguments(SPEC, ["x", "--to="]).text("to"), "");
  });

  it("parseArguments reads time spans", () => {
    for (
      const [text, millis] of [["250ms", 250], ["30s", 30_000], ["2m", 120_000], ["1h", 3_600_000], ["7d", 604_800_000]]
    ) {
      assert.equal(parseArguments(SPEC, ["x", "--expires-in", String(text)]).count("expires-in"), millis);
    }
    for (const text of ["30", "s", "-1s", "1.5h", "1w"]) {
      assert.match(refusal("x", `--expires-in=${text}`), /time span/);
    }
  });

  it("parseArguments refuses what makes no sense, with a hint", () => {
    const cases: ReadonlyArray<readonly [argv: string[], hint: RegExp]> = [
      [["x", "--jsno"], /no flag --jsno; did you mean --json\?/],
      [["x", "--lim", "3"], /did you mean --limit\?/],
      [["x", "-j"], /no flag -j; "phyllite sample --help"/],
      [["x", "--wholly-unknown"], /lists what there is/],
      [["x", "--limit"], /--limit needs a value: --limit=N/],
      [["x", "--limit", "--json"], /--limit needs a value/],
      [["x", "--limit", "0"], /at least 1/],
      [["x", "--limit", "1e3"], /at least 1/],
      [["x", "--limit", "99999999999999999999"], /at least 1/],
      [["x", "--merge", "sum"], /one of concat, u64add/],
      [["x", "--json=yes"], /takes no value/],
      [["x", "--json", "--json"], /given twice/],
      [["x", "--prefix", "hex:0g"], /hex digits/],
      [["x", "--prefix", "base64:A"], /base64/],
      [[], /needs <location>: where/],
      [["a", "b", "c"], /does not know what to do with "c"/],
    ];
    for (const [argv, hint] of cases) assert.match(refusal(...argv), hint);
  });

  it("Arguments finds a flag that the command does not have a bug", () => {
    const args = parseArguments(SPEC, ["x"]);
    assert.throws(() => args.on("limit"), /has no flag limit/);
    assert.throws(() => args.text("nothing"), /has no flag nothing/);
    assert.throws(() => args.position("nothing"), /has no position/);
  });
});

describe("help", () => {
  it("commandHelp shows positions, flags, choices and examples", () => {
    const help = commandHelp(SPEC);
    assert.match(help, /^Do a thing\.\n\nUsage: phyllite sample <location> \[key\] \[flags\]/);
    assert.match(help, /--merge concat\|u64add +how/);
    assert.match(help, /--limit N +how many/);
    assert.match(help, /Examples:\n {2}phyllite sample x/);
  });

  it("overview leaves hidden commands out", () => {
    const text = overview([SPEC, { ...SPEC, name: "secret", hidden: true }]);
    assert.match(text, / {2}sample +Do a thing/);
    assert.doesNotMatch(text, /secret/);
  });

  it("nearest finds misspellings and leaves strangers alone", () => {
    const names = ["get", "put", "scan", "manifest"];
    assert.equal(nearest("scna", names), "scan");
    assert.equal(nearest("mani", names), "manifest");
    assert.equal(nearest("gte", names), "get");
    assert.equal(nearest("completely", names), undefined);
  });
});
