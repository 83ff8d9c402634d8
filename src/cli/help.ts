/**
 * Help texts, made from what the commands say about themselves.
 *
 * @module
 */
import { type CommandSpec, type FlagSpec, type PositionSpec, valueName } from "./arguments.ts";
import { columns } from "./text_layout.ts";

/** Width of the running text. */
const TEXT_COLUMNS = 96;

/** The list of commands. */
export function overview(specs: readonly CommandSpec[]): string {
  return [
    "phyllite: an ordered key-value database on object storage, from the command line",
    "",
    "Usage: phyllite <command> <location> …",
    "",
    ...columns(specs.filter((spec) => spec.hidden !== true).map((spec) => [spec.name, spec.summary]), "  "),
    "",
    'A location is a folder, a file: URL, s3://bucket/prefix?endpoint=… or "memory:". Keys are written as their text, as hex:00ff or as base64:AP8=.',
    "In S3: settings endpoint (none for AWS), region, pathStyle, allowHttp; credentials from AWS_* variables and shared files.",
    "Every command takes --json. Exit codes: 0 done, 1 failed or not found, 2 the command line makes no sense.",
    "What follows -- is taken as it stands, such as a key that begins with a dash: phyllite get ./data -- -key",
    '"phyllite <command> --help" tells more, "phyllite --version" which version this is.',
  ].join("\n");
}

/** The help of one command. */
export function commandHelp(spec: CommandSpec): string {
  const usage = ["phyllite", spec.name, ...spec.positions.map(positionUsage), "[flags]"].join(" ");
  const lines = [`${spec.summary}.`, "", `Usage: ${usage}`];
  if (spec.details !== undefined) lines.push("", ...spec.details.split("\n").flatMap(wrapped));
  if (spec.positions.length > 0) {
    lines.push("", ...columns(spec.positions.map(({ name, about }) => [`<${name}>`, about]), "  "));
  }
  lines.push("", "Flags:", ...columns(spec.flags.map(({ about, ...flag }) => [flagUsage(flag), about]), "  "));
  if (spec.examples !== undefined) lines.push("", "Examples:", ...spec.examples.map((example) => `  ${example}`));
  return lines.join("\n");
}

function positionUsage({ name, optional }: Pick<PositionSpec, "name" | "optional">): string {
  return optional === true ? `[${name}]` : `<${name}>`;
}

function flagUsage(flag: Omit<FlagSpec, "about">): string {
  return flag.kind === "switch" ? `--${flag.name}` : `--${flag.name} ${valueName({ ...flag, about: "" })}`;
}

/** Breaks a paragraph into lines. */
function wrapped(paragraph: string): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of paragraph.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > TEXT_COLUMNS) {
      lines.push(line);
      line = word;
    } else {
      line = line === "" ? word : `${line} ${word}`;
    }
  }
  return [...lines, line];
}
