/**
 * A small scanner of TypeScript source, enough for the rules that the code keeps about itself.
 *
 * It knows comments, strings, template literals (with nested `${…}`) and regular expressions; it does not parse. Blanked
 * text keeps its length and its line ends, so that offsets and line numbers stay true.
 *
 * @module
 */

/** One source file in three forms of equal length. */
export interface SourceText {
  /** The file as it is. */
  readonly raw: string;
  /** Without comments. */
  readonly uncommented: string;
  /** Without comments and without what strings, templates and regular expressions hold. */
  readonly code: string;
}

/** An import or re-export of a module. */
export interface ImportEdge {
  readonly specifier: string;
  /** Whether the whole statement is erased with the types. */
  readonly typeOnly: boolean;
  /** 1-based. */
  readonly line: number;
}

/** A function body found by its braces. */
export interface FunctionSpan {
  readonly name: string;
  /** 1-based line of the declaration. */
  readonly line: number;
  /** Lines from the declaration to the closing brace. */
  readonly lines: number;
}

const blank = (text: string) => text.replace(/[^\n]/g, " ");

/** Whether a `/` at `at` starts a regular expression, judged by what stands before it. */
function startsRegex(text: string, at: number): boolean {
  const before = text.slice(Math.max(0, at - 40), at).trimEnd();
  if (before === "") return true;
  return /[(,=:[!&|?{};+\-*%<>~^]$/.test(before) || /\b(?:return|typeof|case|in|of|void|yield|await)$/.test(before);
}

/** End of the token that starts at `at` and ends at the first unescaped `quote`. */
function endOfQuoted(text: string, at: number, quote: string): number {
  let inClass = false;
  for (let i = at + 1; i < text.length; i++) {
    const char = text[i]!;
    if (char === "\\") i++;
    else if (quote === "/" && char === "[") inClass = true;
    else if (quote === "/" && char === "]") inClass = false;
    else if (char === quote && !inClass) return i + 1;
    else if (char === "\n" && quote !== "`") return i;
  }
  return text.length;
}

/** Splits a file into its three forms. */
export function readSource(raw: string): SourceText {
  let uncommented = "";
  let code = "";
  let at = 0;
  /** Brace depth at which each open `${` of a template ends. */
  const templates: number[] = [];
  let depth = 0;
  const keep = (end: number) => {
    uncommented += raw.slice(at, end);
    code += raw.slice(at, end);
    at = end;
  };
  const quoted = (end: number) => {
    uncommented += raw.slice(at, end);
    code += raw[at]! + blank(raw.slice(at + 1, Math.max(at + 1, end - 1))) + (end - at > 1 ? raw[end - 1]! : "");
    at = end;
  };
  const comment = (end: number) => {
    uncommented += blank(raw.slice(at, end));
    code += blank(raw.slice(at, end));
    at = end;
  };
  /** From a backtick, or from the brace that ends `${…}`, to the next `${` or the closing backtick. */
  const template = () => {
    let end = at + 1;
    while (end < raw.length && raw[end] !== "`" && !raw.startsWith("${", end)) end += raw[end] === "\\" ? 2 : 1;
    const opens = raw.startsWith("${", end);
    if (opens) {
      templates.push(depth);
      depth++;
    }
    quoted(Math.min(raw.length, opens ? end + 2 : end + 1));
  };
  while (at < raw.length) {
    const char = raw[at]!;
    if (raw.startsWith("//", at)) {
      const end = raw.indexOf("\n", at);
      comment(end < 0 ? raw.length : end);
    } else if (raw.startsWith("/*", at)) {
      const end = raw.indexOf("*/", at + 2);
      comment(end < 0 ? raw.length : end + 2);
    } else if (char === '"' || char === "'") {
      quoted(endOfQuoted(raw, at, char));
    } else if (char === "`") {
      template();
    } else if (char === "/" && startsRegex(code, at)) {
      quoted(endOfQuoted(raw, at, "/"));
    } else if (char === "}" && templates.at(-1) === depth - 1) {
      templates.pop();
      depth--;
      template();
    } else {
      if (char === "{") depth++;
      if (char === "}") depth--;
      keep(at + 1);
    }
  }
  return { raw, uncommented, code };
}

/** 1-based line of an offset. */
export function lineAt(text: string, offset: number): number {
  let line = 1;
  for (let i = text.indexOf("\n"); i >= 0 && i < offset; i = text.indexOf("\n", i + 1)) line++;
  return line;
}

/** The modules that a file imports, re-exports, or names by a relative path ending in `.ts` (workers, child programs). */
export function importsOf(source: SourceText): ImportEdge[] {
  const edges: ImportEdge[] = [];
  const statement = /\b(import|export)\s+(type\s+)?(?:[\w*{}\s,$]*?\bfrom\s*)?"([^"\n]+)"/g;
  for (const match of source.uncommented.matchAll(statement)) {
    if (!/["]/.test(source.code.slice(match.index, match.index + match[0].length))) continue;
    const names = match[0].includes("{") ? match[0].slice(match[0].indexOf("{") + 1, match[0].indexOf("}")) : "";
    const inlineTypes = names.trim() !== "" && names.split(",").every((name) => /^\s*(type\s|$)/.test(name));
    const only = match[2] !== undefined || (inlineTypes && !/^(?:import|export)\s+\w+\s*,/.test(match[0]));
    edges.push({ specifier: match[3]!, typeOnly: only, line: lineAt(source.raw, match.index) });
  }
  for (const match of source.uncommented.matchAll(/\bimport\(\s*"([^"\n]+)"/g)) {
    edges.push({ specifier: match[1]!, typeOnly: false, line: lineAt(source.raw, match.index) });
  }
  for (const match of source.uncommented.matchAll(/"(\.{1,2}\/[^"\n]+\.ts)"/g)) {
    if (edges.some((edge) => edge.specifier === match[1])) continue;
    edges.push({ specifier: match[1]!, typeOnly: false, line: lineAt(source.raw, match.index) });
  }
  return edges;
}

/** Offset after the bracket that closes the one at `at`. */
function closing(code: string, at: number): number {
  const pairs: Record<string, string> = { "(": ")", "{": "}", "[": "]", "<": ">" };
  const open = code[at]!;
  const close = pairs[open]!;
  let depth = 0;
  for (let i = at; i < code.length; i++) {
    if (code[i] === open) depth++;
    else if (code[i] === close && !(close === ">" && code[i - 1] === "=") && --depth === 0) return i + 1;
  }
  return code.length;
}

/** Offset of the `{` that opens a function's body after its parameter list, or -1 when it has none. */
function bodyStart(code: string, afterParameters: number): number {
  for (let i = afterParameters; i < code.length; i++) {
    const char = code[i]!;
    if (char === ";" || char === "}") return -1;
    if (char === "(" || char === "[" || (char === "<" && code[i - 1] !== " ")) i = closing(code, i) - 1;
    if (char !== "{") continue;
    // An object type inside the return type stands after one of these; a body does not.
    if (!/(?:[:|&,]|\bis)$/.test(code.slice(afterParameters, i).trimEnd())) return i;
    i = closing(code, i) - 1;
  }
  return -1;
}

const DECLARATION =
  /(?:\bfunction\b\s*\*?\s*([\w$]*)|^[ \t]*(?:(?:static|async|override|get|set|public|private|protected)[ \t]+)*\*?[ \t]*(#?[\w$]+|\[[\w.]+\]))(?=\s*[(<])/gm;
const NOT_A_NAME = /^(?:if|for|while|switch|catch|return|function|super|await|yield|new|typeof|constructor\.)$/;

/** Functions, methods and arrow functions with a braced body. */
export function functionsOf(source: SourceText): FunctionSpan[] {
  const { code } = source;
  const spans: FunctionSpan[] = [];
  const add = (name: string, start: number, brace: number) => {
    const line = lineAt(code, start);
    spans.push({ name, line, lines: lineAt(code, closing(code, brace) - 1) - line + 1 });
  };
  for (const match of code.matchAll(DECLARATION)) {
    const name = match[1] ?? match[2] ?? "";
    if (NOT_A_NAME.test(name)) continue;
    let at = match.index + match[0].length;
    while (/\s/.test(code[at] ?? "")) at++;
    if (code[at] === "<") at = closing(code, at);
    while (/\s/.test(code[at] ?? "")) at++;
    if (code[at] !== "(") continue;
    const brace = bodyStart(code, closing(code, at));
    if (brace >= 0) add(name === "" ? "(anonymous)" : name, match.index, brace);
  }
  for (const match of code.matchAll(/=>\s*\{/g)) add("(arrow)", match.index, match.index + match[0].length - 1);
  return spans;
}
