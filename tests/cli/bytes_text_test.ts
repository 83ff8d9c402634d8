import fc from "fast-check";
import {
  blockText,
  fromBase64,
  jsonBytes,
  lineBytes,
  parseBytes,
  parseJsonBytes,
  parseLineBytes,
  textOf,
  toBase64,
  utf8,
} from "../../src/cli/bytes_text.ts";
import { readLines } from "../../src/cli/line_source.ts";
import { UsageError } from "../../src/cli/usage_error.ts";
import { assert, describe, it } from "../support/suite.ts";

const SEED = 20_261_121;
const bytes = (...values: number[]) => new Uint8Array(values);
/** Text with what needs care, and any bytes. */
const anyBytes = fc.oneof(
  fc.uint8Array({ maxLength: 24 }),
  fc.string({
    unit: fc.constantFrom("a", "\\", "\t", "\n", "\r", "é", "😀", ":", "hex:", "base64:", "\u001b", "\u0000"),
  })
    .map(utf8),
);

describe("bytes as text", () => {
  it(`lineBytes and parseLineBytes give the same bytes back, on one line without tabs (seed ${SEED})`, () => {
    fc.assert(
      fc.property(anyBytes, fc.boolean(), (value, hex) => {
        const line = lineBytes(value, hex);
        // deno-lint-ignore no-control-regex -- nothing that could steer a terminal
        assert.doesNotMatch(line, /[\u0000-\u001f\u007f-\u009f]/);
        assert.deepEqual(parseLineBytes(line), value);
      }),
      { seed: SEED, numRuns: 400 },
    );
  });

  it(`jsonBytes and parseJsonBytes give the same bytes back (seed ${SEED})`, () => {
    fc.assert(
      fc.property(anyBytes, fc.constantFrom("hex" as const, "base64" as const), (value, binary) => {
        const json: unknown = JSON.parse(JSON.stringify(jsonBytes(value, binary)));
        assert.deepEqual(parseJsonBytes(json, "it"), value);
        assert.equal(typeof json === "string", textOf(value) !== undefined);
      }),
      { seed: SEED, numRuns: 400 },
    );
  });

  it("lineBytes marks what is not text as hex", () => {
    assert.equal(lineBytes(utf8("plain é")), "plain é");
    assert.equal(lineBytes(bytes(0xff, 0x00)), "hex:ff00");
    assert.equal(lineBytes(utf8("a\tb\\c\n")), "a\\tb\\\\c\\n");
    assert.equal(lineBytes(utf8("hex:00")), "hex:6865783a3030");
    assert.equal(lineBytes(utf8("\u001b[2J")), "hex:1b5b324a");
    assert.equal(lineBytes(utf8("a"), true), "hex:61");
    assert.equal(blockText(utf8("a\nb"), false), "a\nb");
    assert.equal(blockText(bytes(0xc3), false), "hex:c3");
  });

  it("textOf keeps a byte order mark and refuses half a character", () => {
    assert.equal(textOf(bytes(0xef, 0xbb, 0xbf, 0x61))?.length, 2);
    assert.equal(textOf(bytes(0xe2, 0x82)), undefined);
    assert.equal(textOf(bytes(0xed, 0xa0, 0x80)), undefined);
  });

  it("parseBytes reads text, hex and base64", () => {
    assert.deepEqual(parseBytes("é"), bytes(0xc3, 0xa9));
    assert.deepEqual(parseBytes("hex:00FF"), bytes(0, 255));
    assert.deepEqual(parseBytes("hex:"), bytes());
    assert.deepEqual(parseBytes("base64:AP8="), bytes(0, 255));
    assert.deepEqual(fromBase64("-_8"), bytes(0xfb, 0xff));
    assert.equal(toBase64(bytes(0, 255)), "AP8=");
    for (const bad of ["hex:0", "hex:zz", "base64:A", "base64:A*=="]) assert.throws(() => parseBytes(bad), UsageError);
    for (const bad of [1, null, [], {}, { hex: 1 }, { hex: "00", base64: "" }, { utf8: "a" }]) {
      assert.throws(() => parseJsonBytes(bad, "the key"), /the key must be/);
    }
    assert.throws(() => parseLineBytes("a\\x"), /is no escape/);
  });
});

describe("readLines", () => {
  it(`readLines gives the same lines however the stream is cut (seed ${SEED})`, async () => {
    const property = fc.asyncProperty(
      fc.array(fc.constantFrom("", "a", "bc", "long line"), { maxLength: 6 }),
      fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1 }),
      fc.boolean(),
      async (lines, cuts, ended) => {
        const whole = utf8(lines.join("\n") + (ended && lines.length > 0 ? "\n" : ""));
        const chunks = async function* () {
          for (let at = 0, i = 0; at < whole.length; i++) {
            const end = at + cuts[i % cuts.length]!;
            yield await Promise.resolve(whole.subarray(at, end));
            at = end;
          }
        };
        const read = async (lastNeedsEnd: boolean) => {
          const found: string[] = [];
          for await (const line of readLines(chunks(), { lastNeedsEnd })) found.push(textOf(line)!);
          return found;
        };
        const expected = new TextDecoder().decode(whole).split("\n");
        const last = expected.pop()!;
        assert.deepEqual(await read(true), expected);
        assert.deepEqual(await read(false), last === "" ? expected : [...expected, last]);
      },
    );
    await fc.assert(property, { seed: SEED, numRuns: 200 });
  });
});
