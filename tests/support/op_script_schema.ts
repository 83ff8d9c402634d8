/**
 * Validates a value against a JSON schema: the part of the language that `op-script.schema.json` uses, and no more.
 *
 * A keyword that is not implemented is an error of the schema, never ignored: a validator that skips what it does not
 * know would wave through the very files it is there to stop.
 *
 * @module
 */

import type { Json } from "../../src/cli/exec/step_values.ts";

export type { Json } from "../../src/cli/exec/step_values.ts";

type Schema = { readonly [keyword: string]: Json };

const KEYWORDS = new Set(
  ("$schema $defs title type const enum pattern minLength minimum required properties additionalProperties items " +
    "prefixItems minItems maxItems oneOf $ref").split(" "),
);

/**
 * Checks `value`.
 *
 * @returns what is wrong, each with the path of the value; empty when the value is valid
 * @throws Error when the schema uses a keyword that this validator does not implement
 */
export function validate(schema: Json, value: Json): string[] {
  const problems: string[] = [];
  new Validator(schema as Schema, problems).check(schema as Schema, value, "$");
  return problems;
}

class Validator {
  readonly #root: Schema;
  readonly #problems: string[];

  constructor(root: Schema, problems: string[]) {
    this.#root = root;
    this.#problems = problems;
  }

  check(schema: Schema, value: Json, path: string): void {
    for (const keyword of Object.keys(schema)) {
      if (!KEYWORDS.has(keyword)) throw new Error(`schema keyword ${keyword} is not implemented`);
    }
    if (schema["$ref"] !== undefined) this.check(this.#resolve(schema["$ref"] as string), value, path);
    if (schema["type"] !== undefined && !isOfType(schema["type"], value)) {
      this.#report(path, `is no ${JSON.stringify(schema["type"])}`);
      return;
    }
    if (schema["const"] !== undefined && schema["const"] !== value) this.#report(path, `is not ${schema["const"]}`);
    if (schema["enum"] !== undefined && !(schema["enum"] as Json[]).includes(value)) {
      this.#report(path, `${JSON.stringify(value)} is none of ${JSON.stringify(schema["enum"])}`);
    }
    if (typeof value === "string") this.#checkString(schema, value, path);
    if (typeof value === "number" && value < (schema["minimum"] as number ?? -Infinity)) {
      this.#report(path, `is below ${schema["minimum"]}`);
    }
    if (Array.isArray(value)) this.#checkArray(schema, value, path);
    else if (typeof value === "object" && value !== null) this.#checkObject(schema, value as Schema, path);
    if (schema["oneOf"] !== undefined) this.#checkOneOf(schema["oneOf"] as readonly Json[], value, path);
  }

  #checkString(schema: Schema, value: string, path: string): void {
    if (schema["pattern"] !== undefined && !new RegExp(schema["pattern"] as string, "u").test(value)) {
      this.#report(path, `does not match ${schema["pattern"]}`);
    }
    if (value.length < (schema["minLength"] as number ?? 0)) this.#report(path, "is too short");
  }

  #checkArray(schema: Schema, value: readonly Json[], path: string): void {
    if (value.length < (schema["minItems"] as number ?? 0)) this.#report(path, "has too few items");
    if (value.length > (schema["maxItems"] as number ?? Infinity)) this.#report(path, "has too many items");
    const prefix = (schema["prefixItems"] ?? []) as readonly Schema[];
    value.forEach((item, at) => {
      const of = prefix[at] ?? schema["items"] as Schema | undefined;
      if (of !== undefined) this.check(of, item, `${path}[${at}]`);
    });
  }

  #checkObject(schema: Schema, value: Schema, path: string): void {
    const properties = (schema["properties"] ?? {}) as Record<string, Schema>;
    for (const name of (schema["required"] ?? []) as string[]) {
      if (!Object.hasOwn(value, name)) this.#report(path, `lacks ${name}`);
    }
    for (const [name, item] of Object.entries(value)) {
      if (Object.hasOwn(properties, name)) this.check(properties[name]!, item, `${path}.${name}`);
      else if (schema["additionalProperties"] === false) this.#report(path, `has the unknown field ${name}`);
    }
  }

  #checkOneOf(branches: readonly Json[], value: Json, path: string): void {
    const fitting = branches.filter((branch) => {
      const problems: string[] = [];
      new Validator(this.#root, problems).check(branch as Schema, value, path);
      return problems.length === 0;
    });
    if (fitting.length !== 1) this.#report(path, `fits ${fitting.length} of ${branches.length} forms instead of one`);
  }

  #resolve(ref: string): Schema {
    let at: Json | undefined = this.#root;
    for (const part of ref.replace(/^#\//, "").split("/")) at = (at as Schema | undefined)?.[part];
    if (at === undefined) throw new Error(`schema reference ${ref} leads nowhere`);
    return at as Schema;
  }

  #report(path: string, what: string): void {
    this.#problems.push(`${path} ${what}`);
  }
}

function isOfType(type: Json, value: Json): boolean {
  return (Array.isArray(type) ? type : [type]).some((name) => {
    switch (name) {
      case "null":
        return value === null;
      case "integer":
        return Number.isInteger(value);
      case "array":
        return Array.isArray(value);
      case "object":
        return typeof value === "object" && value !== null && !Array.isArray(value);
      case "string":
        return typeof value === "string";
      case "boolean":
        return typeof value === "boolean";
      default:
        throw new Error(`schema type ${name} is not implemented`);
    }
  });
}
