/**
 * Tells an answer of S3 from one that something in between gave in its place (invariant N4).
 *
 * A gateway, a login page or a maintenance page may answer anything with status 200. Taken for S3's, that would be a
 * write that is acknowledged and lost, or a database that seems empty. So a success counts only with what S3 itself puts
 * into it: an ETag, a length and a date, a document with the right root element that is there to its end. What comes
 * without is a {@linkcode ForeignAnswer}: what became of a write is unknown, and the request is worth repeating.
 *
 * @module
 */
import type { S3Client } from "@aws-sdk/client-s3";

/** What all answers of the SDK have. */
interface Answered {
  readonly $metadata: {
    readonly httpStatusCode?: number | undefined;
    readonly requestId?: string | undefined;
  };
}

/** An answer that does not have what S3 puts into it. */
export class ForeignAnswer extends Error {
  /** Name of the class, which stands for the code that the service did not give. */
  override readonly name = "ForeignAnswer";
  /** What is missing; words of ours, nothing of the answer. */
  readonly lacks: string;
  readonly $metadata: { readonly httpStatusCode: number };

  constructor(status: number | undefined, lacks: string) {
    super(lacks);
    this.lacks = lacks;
    this.$metadata = { httpStatusCode: status ?? 0 };
  }
}

/** `answer`, if it has its mark. @throws ForeignAnswer */
export function demand<A extends Answered>(answer: A, hasMark: boolean, lacks: string): A {
  if (!hasMark) throw new ForeignAnswer(answer.$metadata.httpStatusCode, lacks);
  return answer;
}

/** What has been stored is named by its ETag, with status 200. @throws ForeignAnswer */
export function demandStored<A extends Answered & { readonly ETag?: string | undefined }>(answer: A): A {
  const isStored = answer.$metadata.httpStatusCode === 200 && isText(answer.ETag);
  return demand(answer, isStored, "it has no ETag, or is not a 200");
}

/** A body counts with an ETag or the id of a request of S3. @throws ForeignAnswer */
export function demandObject<A extends Answered & { readonly ETag?: string | undefined }>(answer: A): A {
  return demand(answer, isText(answer.ETag) || isText(answer.$metadata.requestId), "it has no ETag");
}

/** The head of an object: its length and its date too. @throws ForeignAnswer */
export function demandHead<
  A extends Answered & {
    readonly ETag?: string | undefined;
    readonly ContentLength?: number | undefined;
    readonly LastModified?: Date | undefined;
  },
>(answer: A): A {
  const isHead = isSize(answer.ContentLength) && isDate(answer.LastModified);
  return demandObject(demand(answer, isHead, "it has no Content-Length or Last-Modified"));
}

/** A page of a listing says whether it is the last, and of each entry all that is needed. @throws ForeignAnswer */
export function demandPage<
  A extends Answered & {
    readonly IsTruncated?: boolean | undefined;
    readonly Contents?:
      | ReadonlyArray<{
        readonly Key?: string | undefined;
        readonly Size?: number | undefined;
        readonly LastModified?: Date | undefined;
      }>
      | undefined;
  },
>(answer: A): A {
  demand(answer, typeof answer.IsTruncated === "boolean", "it does not say whether the listing goes on");
  for (const { Key, Size, LastModified } of answer.Contents ?? []) {
    const isEntry = isText(Key) && isSize(Size) && isDate(LastModified);
    demand(answer, isEntry, "an entry of the listing has no key, size or date");
  }
  return answer;
}

/** Whether a value is a text that is not empty. */
export function isText(value: unknown): value is string {
  return typeof value === "string" && value !== "";
}

function isSize(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isDate(value: unknown): boolean {
  return value instanceof Date && Number.isFinite(value.getTime());
}

/** Root elements of the documents that S3 answers with, by the SDK's name of the request. */
const ROOTS: ReadonlyMap<string, string> = new Map([
  ["ListObjectsV2Command", "ListBucketResult"],
  ["DeleteObjectsCommand", "DeleteResult"],
  ["CopyObjectCommand", "CopyObjectResult"],
  ["CreateMultipartUploadCommand", "InitiateMultipartUploadResult"],
  ["CompleteMultipartUploadCommand", "CompleteMultipartUploadResult"],
]);
/** Requests that are answered without a document. */
const WITHOUT_BODY: ReadonlySet<string> = new Set(["DeleteObjectCommand", "AbortMultipartUploadCommand"]);
/** How far into a document its root element may begin, bytes; S3 sends blanks while it works at a large object. */
const HEAD_BYTES = 16 << 10;

interface RawAnswer {
  readonly statusCode: number;
  body?: unknown;
}

/** Has `client` look at documents before the SDK reads them: it takes any for an empty one of the right kind. */
export function guardAnswers(client: S3Client): void {
  client.middlewareStack.add(
    (next, { commandName = "" }) => async (args) => {
      const result = await next(args);
      const root = ROOTS.get(commandName);
      const response = result.response as RawAnswer;
      if ((root === undefined && !WITHOUT_BODY.has(commandName)) || response.statusCode >= 300) return result;
      const body = await collected(response.body);
      response.body = body;
      const isGood = root === undefined ? body.length === 0 : isDocument(body, root) || isDocument(body, "Error");
      if (!isGood) throw new ForeignAnswer(response.statusCode, `it is no whole ${root ?? "empty answer"}`);
      return result;
    },
    { step: "deserialize", priority: "low", name: "phylliteMarks" },
  );
}

async function collected(body: unknown): Promise<Uint8Array> {
  if (body === undefined || body === null) return new Uint8Array(0);
  if (body instanceof Uint8Array) return body;
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of body as AsyncIterable<Uint8Array>) {
    chunks.push(chunk);
    length += chunk.length;
  }
  if (chunks.length === 1) return chunks[0]!;
  const whole = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}

/** Whether `body` is a document with this root element, from its begin to its end. */
function isDocument(body: Uint8Array, root: string): boolean {
  let from = 0;
  while (from < body.length && body[from]! <= 0x20) from++;
  const decoder = new TextDecoder();
  const head = decoder.decode(body.subarray(from, from + HEAD_BYTES));
  const begin = /^(?:<\?[^>]*\?>|<!--.*?-->|\s)*<([A-Za-z]+)(?=[\s/>])[^>]*?(\/?)>/s.exec(head);
  if (begin?.[1] !== root) return false;
  const tail = decoder.decode(body.subarray(Math.max(from, body.length - 256))).trimEnd();
  return begin[2] === "/" ? tail.endsWith("/>") : tail.endsWith(`</${root}>`);
}
