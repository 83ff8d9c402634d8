import { Clock, Context } from "effect";
import { type Output, Printer } from "../../src/cli/output.ts";
import { Progress } from "../../src/cli/progress.ts";
import { mergeOperatorNamed } from "../../src/cli/merge_operators.ts";
import type { MergeFunction } from "../../src/db/api.ts";
import { columns, countText, dollarText, plural, secondsText, sizeText, timeText } from "../../src/cli/text_layout.ts";
import { assert, describe, it } from "../support/suite.ts";

describe("text layout", () => {
  it("text layout writes sizes, counts, dollars and times for people", () => {
    const cases: ReadonlyArray<readonly [found: string | undefined, expected: string | undefined]> = [
      [sizeText(0), "0 B"],
      [sizeText(1023), "1023 B"],
      [sizeText(1536), "1.5 KiB"],
      [sizeText(300 * 1024 * 1024), "300 MiB"],
      [countText(999), "999"],
      [countText(1_234_567), "1,234,567"],
      [plural(1, "file"), "1 file"],
      [plural(2000, "file"), "2,000 files"],
      [dollarText(0), "$0"],
      [dollarText(12.345), "$12.35"],
      [dollarText(0.99), "$0.99"],
      [dollarText(0.00021), "$0.00021"],
      [dollarText(0.0000999), "$0.00010"],
      [secondsText(420), "0.42 s"],
      [secondsText(12_340), "12.3 s"],
      [timeText(0), "1970-01-01T00:00:00.000Z"],
      [timeText(1_795_244_753_916), "2026-11-21T07:05:53.916Z"],
      [timeText(undefined), undefined],
      [timeText(-Infinity), undefined],
      [timeText(1e18), undefined],
    ];
    for (const [found, expected] of cases) assert.equal(found, expected);
  });

  it("columns aligns numbers to the right and text to the left, without trailing blanks", () => {
    assert.deepEqual(columns([["name", "size"], ["a", "1.0 KiB"], ["long", "2 B"]], "> "), [
      "> name     size",
      "> a     1.0 KiB",
      "> long      2 B",
    ]);
    assert.deepEqual(columns([["a", "b"], ["x", ""]]), ["a  b", "x"]);
  });
});

describe("Printer", () => {
  const collecting = (isTerminal: boolean) => {
    const writes: string[] = [];
    const output: Output = {
      isTerminal,
      columns: 60,
      write: (bytes) => {
        writes.push(new TextDecoder().decode(bytes));
        return Promise.resolve();
      },
    };
    return { writes, printer: new Printer(output) };
  };

  it("Printer collects lines and passes them on in order", async () => {
    const { writes, printer } = collecting(false);
    await printer.line("one");
    await printer.json({ two: 2 });
    assert.deepEqual(writes, []);
    await printer.line("x".repeat(70_000));
    assert.equal(writes.length, 1);
    assert.match(writes[0]!, /^one\n\{"two":2\}\nx+\n$/);
    await printer.flush();
    assert.equal(writes.length, 1);
  });

  it("Progress draws on a terminal alone, and takes itself away", async () => {
    const clock = Context.get(Context.empty() as Context.Context<never>, Clock.Clock);
    const quiet = collecting(false);
    const silent = new Progress(quiet.printer, clock, { label: "load", unit: "files", total: 10 });
    await silent.add(5, 1024);
    await silent.done();
    assert.deepEqual(quiet.writes, []);
    const { writes, printer } = collecting(true);
    const bar = new Progress(printer, clock, { label: "load", unit: "files", total: 10 });
    await bar.add(5, 2048);
    await bar.add(1, 1);
    await bar.done();
    assert.equal(writes.length, 2);
    assert.ok(writes[0]!.startsWith("\r\u001b[2K"));
    assert.match(writes[0]!, /load █{10}░{10} {2}50% {2}5 of 10 files/);
    assert.ok(writes[0]!.length < 60 + "\r\u001b[2K".length);
    assert.equal(writes[1], "\r\u001b[2K");
  });

  it("Progress counts without a total, and survives an empty one", () => {
    const clock = Context.get(Context.empty() as Context.Context<never>, Clock.Clock);
    const { printer } = collecting(true);
    assert.match(
      new Progress(printer, clock, { label: "import", unit: "rows", total: undefined }).text(0),
      /^import 0 rows/,
    );
    assert.match(new Progress(printer, clock, { label: "load", unit: "files", total: 0 }).text(0), /100%/);
  });
});

describe("mergeOperatorNamed", () => {
  const key = new Uint8Array([1]);
  const le = (value: bigint) => {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, value, true);
    return bytes;
  };

  it("mergeOperatorNamed concat appends, u64add adds and wraps", () => {
    const concat = mergeOperatorNamed("concat") as MergeFunction;
    assert.deepEqual(concat(key, undefined, new Uint8Array([1])), new Uint8Array([1]));
    assert.deepEqual(concat(key, new Uint8Array([1]), new Uint8Array([2, 3])), new Uint8Array([1, 2, 3]));
    const add = mergeOperatorNamed("u64add") as MergeFunction;
    assert.deepEqual(add(key, undefined, le(5n)), le(5n));
    assert.deepEqual(add(key, le(2n ** 64n - 1n), le(2n)), le(1n));
    assert.throws(
      () => add(key, new Uint8Array(3), le(1n)),
      /8-byte integers are folded here, and a key of \d+ bytes has one of 3/,
    );
    assert.equal(mergeOperatorNamed(undefined), undefined);
  });
});
