/**
 * Locations in S3: "s3://bucket/prefix?endpoint=https://s3.example.com&region=…&pathStyle=true&allowHttp=true".
 *
 * Imports nothing of the SDK, so that a location can be judged without loading it. No message repeats what may be a
 * secret: values never, names only when they are plain words.
 *
 * @module
 */
import { InvalidArgument } from "../../errors.ts";
import { parseRoot } from "../../format/paths.ts";
import { type S3Options, s3Settings, shownName } from "./s3_options.ts";

/** What a location in S3 names. */
export interface S3Location {
  readonly options: S3Options;
  /** Root of the database inside the bucket; "" is the bucket itself. */
  readonly root: string;
  /** What messages call the place: bucket and prefix. */
  readonly name: string;
  /** Equal for two locations whose stores are one: the same bucket, reached in the same way. */
  readonly identity: string;
}

const EXAMPLE = 's3://bucket/prefix, or with "?endpoint=https://s3.example.com" a service other than AWS';
const CREDENTIALS = /key|secret|token|credential|passw|signature|x-amz/i;
const INSTEAD = "credentials do not belong in a location, which is shown and stored; they come from the AWS_* " +
  "variables and shared files, or in a program as s3Store({ credentials })";

/** Reads a location that begins with "s3:". @throws InvalidArgument reason "location", or "path" for a bad prefix */
export function parseS3Location(location: string): S3Location {
  const parts = /^s3:\/\/([^/?#]*)(?:\/([^?#]*))?(?:\?([^#]*))?(#.*)?$/is.exec(location);
  if (parts === null) throw refused(`give ${EXAMPLE}`);
  const [, bucket = "", prefix = "", query = "", fragment] = parts;
  if (bucket.includes("@")) throw refused(INSTEAD);
  if (fragment !== undefined) throw refused('a location in S3 has no "#"');
  if (bucket === "") throw refused(`the bucket is missing; give ${EXAMPLE}`);
  const options: S3Options = { bucket, ...settingsOf(query) };
  try {
    s3Settings(options);
  } catch (error) {
    if (!(error instanceof InvalidArgument)) throw error;
    throw refused(error.message.replace(/^Cannot use S3: /, ""));
  }
  if (query === "" && /[&=]/.test(prefix)) {
    throw refused(
      'the prefix holds "&" or "="; settings begin with "?" (s3://bucket/prefix?region=…), and in a shell the whole ' +
        "location stands in quotes",
    );
  }
  const root = parseRoot(prefix.replace(/\/$/, ""));
  const { bucket: _bucket, ...reached } = options;
  const identity = JSON.stringify([bucket, Object.entries(reached).sort()]);
  return { options, root, name: root === "" ? `s3://${bucket}` : `s3://${bucket}/${root}`, identity };
}

type Settings = Partial<Record<"endpoint" | "region", string> & Record<"pathStyle" | "allowHttp", boolean>>;

function settingsOf(query: string): Settings {
  const found = new Map<string, string>();
  for (const pair of query.split("&")) {
    if (pair === "") continue;
    const equals = pair.indexOf("=");
    const name = equals < 0 ? pair : pair.slice(0, equals);
    if (found.has(name)) throw refused(`${shownName(name)} is given twice`);
    found.set(name, equals < 0 ? "" : decoded(pair.slice(equals + 1)));
  }
  const settings: { -readonly [Name in keyof Settings]: Settings[Name] } = {};
  for (const [name, value] of found) {
    switch (name) {
      case "endpoint":
      case "region":
        settings[name] = value;
        break;
      case "pathStyle":
      case "allowHttp":
        if (value !== "true" && value !== "false") throw refused(`${name} must be true or false`);
        settings[name] = value === "true";
        break;
      default:
        if (CREDENTIALS.test(name)) throw refused(INSTEAD);
        throw refused(`unknown setting ${shownName(name)}; known are endpoint, region, pathStyle, allowHttp`);
    }
  }
  return settings;
}

function decoded(value: string): string {
  try {
    return decodeURIComponent(value);
  } catch {
    throw refused('a "%" in a setting must begin a percent-encoded byte');
  }
}

function refused(what: string): InvalidArgument {
  return new InvalidArgument({ reason: "location", message: `Cannot open: location: ${what}` });
}
