/**
 * The rules that tie code and documents together: ids of invariants, decisions and known problems, and texts that would
 * tie the repository to one machine.
 *
 * @module
 */
import type { Files, Finding } from "./tidy_rules.ts";
import { isProduct } from "./tidy_rules.ts";
import { lineAt } from "./source_text.ts";

const within = (pattern: RegExp, text: string): Set<string> => new Set([...text.matchAll(pattern)].map((m) => m[1]!));

/** Ids of the invariants that the architecture document defines: list items that start with a bold id. */
export function definedInvariants(architecture: string): Set<string> {
  return within(/^(?:[-*] |### |\| )?\*\*([A-Z]{1,2}\d{1,2})\*\*/gm, architecture);
}

/** Ids that a file claims to keep: in the sentence list after "Invariant(s)", or given to `assertInvariant`. */
export function claimedInvariants(raw: string): Map<string, number> {
  const claims = new Map<string, number>();
  const note = (id: string, offset: number) => claims.has(id) || claims.set(id, lineAt(raw, offset));
  // From the word to the end of the paragraph; an id stands first in its item.
  for (const match of raw.matchAll(/\binvariants?\b:?((?:(?!\n\s*\*?\s*\n|\*\/|\n(?! ?\*| *\/\/))[\s\S])*)/gi)) {
    for (const id of match[1]!.matchAll(/(?:^|[,;.:(]|\band\b|\binvariants?\b:?)[\s*/]*([A-CE-Z][A-Z]?\d{1,2})\b/g)) {
      note(id[1]!, match.index);
    }
  }
  for (const match of raw.matchAll(/\bassertInvariant\([^;]*?"([A-Z]{1,2}\d{1,2})"/g)) note(match[1]!, match.index);
  return claims;
}

/** Ids that a test names: first in a string (its name, or a part of it), in brackets, or after "invariant". */
function testedInvariants(raw: string): Set<string> {
  const named = new Set(claimedInvariants(raw).keys());
  for (const match of raw.matchAll(/[("`]((?:[A-Z]{1,2}\d{1,2}(?:, | and )?)+)(?=[) "`])/g)) {
    for (const id of match[1]!.matchAll(/[A-Z]{1,2}\d{1,2}/g)) named.add(id[0]);
  }
  return named;
}

/** Every invariant is named in the document, in the product and in a test; no file claims one that is not defined. */
export function checkInvariants(files: Files, architecture: string): Finding[] {
  const findings: Finding[] = [];
  const defined = definedInvariants(architecture);
  const kept = new Set<string>();
  const tested = new Set<string>();
  for (const [path, { raw }] of files) {
    if (path.includes("tidy")) continue;
    if (isProduct(path)) { for (const id of claimedInvariants(raw).keys()) kept.add(id); }
    else if (path.startsWith("tests/")) { for (const id of testedInvariants(raw)) tested.add(id); }
    for (const [id, line] of claimedInvariants(raw)) {
      if (!defined.has(id)) findings.push({ path, line, what: `claims invariant ${id}, unknown to ARCHITECTURE.md` });
    }
  }
  const document = "docs/ARCHITECTURE.md";
  for (const id of defined) {
    if (!kept.has(id)) {
      findings.push({ path: document, line: 0, what: `invariant ${id} is claimed nowhere in the code` });
    }
    if (!tested.has(id)) findings.push({ path: document, line: 0, what: `invariant ${id} is named by no test` });
  }
  return findings;
}

/** Decisions (`D7`) and known problems of the reference (`K-4`) that the code cites are explained in the documents. */
export function checkCitations(files: Files, documents: string): Finding[] {
  const findings: Finding[] = [];
  const known = within(/\b(D\d{1,2}|K-\d{1,2})\b/g, documents);
  for (const [path, { raw }] of files) {
    if (path.includes("tidy")) continue;
    for (const match of raw.matchAll(/\b(?:decisions?\s+(D\d{1,2})|(K-\d{1,2}))\b/gi)) {
      const id = match[1] ?? match[2]!;
      if (known.has(id)) continue;
      findings.push({ path, line: lineAt(raw, match.index), what: `cites ${id}, which no document explains` });
    }
  }
  return findings;
}

/**
 * Paths and functions that a document names are there: `` `src/a.ts` (`f`, `g`) `` means that `src/a.ts` exists and
 * holds the words f and g; after "Tested:", that a test there names the invariant of the same list item.
 */
export function checkReferences(document: string, text: string, texts: ReadonlyMap<string, string>): Finding[] {
  const findings: Finding[] = [];
  const report = (at: number, what: string) => findings.push({ path: document, line: lineAt(text, at), what });
  for (const match of text.matchAll(/`((?:src|tasks|tests|docs|bench)\/[\w./]*|mod\.ts)`(\s+\((?:[^()]|\(\))*\))?/g)) {
    const path = match[1]!;
    const body = texts.get(path);
    const folder = [...texts.keys()].some((known) => known.startsWith(path.endsWith("/") ? path : `${path}/`));
    if (body === undefined && !folder) report(match.index, `names ${path}, which is not there`);
    for (const [, name] of (match[2] ?? "").matchAll(/`([#\w.]+)`/g)) {
      const last = name!.split(".").at(-1)!;
      if (body !== undefined && !new RegExp(`(?<![\\w$])${last}(?![\\w$])`).test(body)) {
        report(match.index, `names ${last}, which is not in ${path}`);
      }
    }
  }
  for (const item of text.matchAll(/^- \*\*([A-Z]{1,2}\d{1,2})\*\*(?:.|\n(?!\n|- ))*/gm)) {
    const path = /Tested:\s+`([^`]+)`/.exec(item[0])?.[1];
    if (path === undefined) report(item.index, `says of no test that it tries to break ${item[1]}`);
    else if (!testedInvariants(texts.get(path) ?? "").has(item[1]!)) {
      report(item.index, `${path} does not name ${item[1]}`);
    }
  }
  return findings;
}

const MACHINE_PATHS = /(?<![\w.~$-])\/(?:work|home|root|Users|tmp|var\/tmp|private)\/[\w.-]+/g;
const FOREIGN_HOSTS =
  /\bhttps?:\/\/(?!(?:[\w.-]+\.)?(?:github\.com|slatedb\.io|apache\.org|keepachangelog\.com|semver\.org|jsr\.io|npmjs\.com|deno\.com|deno\.land|bun\.sh|nodejs\.org|effect\.website|json-schema\.org|rfc-editor\.org|amazonaws\.com|r2\.cloudflarestorage\.com|aws\.amazon\.com|example\.com|localhost|127\.0\.0\.1)\b)[\w.-]+/g;

/** Texts that name a folder of one machine, or a host that a reader does not expect. */
export function checkPlaces(texts: ReadonlyMap<string, string>): Finding[] {
  const findings: Finding[] = [];
  for (const [path, text] of texts) {
    for (
      const [pattern, what] of [[MACHINE_PATHS, "names a folder of a machine"], [
        FOREIGN_HOSTS,
        "names a host",
      ]] as const
    ) {
      for (const match of text.matchAll(pattern)) {
        findings.push({ path, line: lineAt(text, match.index), what: `${what}: ${match[0]}` });
      }
    }
  }
  return findings;
}
