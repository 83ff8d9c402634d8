/**
 * A server on loopback that speaks just enough S3 and says what a script tells it to: refusals, lost connections, bodies
 * that end early, silence.
 *
 * Without a script it keeps objects in memory, with conditional creates, ranges, listings and uploads in parts.
 *
 * @module
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import type { S3Options, S3Store } from "../../src/store/s3_store.ts";

/** A request as it arrived. */
export interface Asked {
  readonly method: string;
  /** What follows the bucket: the key, decoded. */
  readonly key: string;
  readonly query: URLSearchParams;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

/** An answer, or what comes in the place of one. */
export type Answer =
  | {
    readonly status: number;
    readonly headers?: Readonly<Record<string, string>>;
    readonly body?: string | Uint8Array;
    /** Length that is announced instead of the body's; what is missing never comes, and the connection ends. */
    readonly announced?: number;
    /** The body is sent, and then nothing more, although more was announced. */
    readonly stalls?: boolean;
  }
  /** The connection is cut after the request. */
  | "drop"
  /** The request is never answered. */
  | "hang"
  /** What an unscripted server would have answered. */
  | "as usual"
  /** As usual, but the connection is cut instead of the answer. */
  | "done, then drop";

/** An error as S3 words it. */
export function refusal(status: number, code: string, headers: Readonly<Record<string, string>> = {}): Answer {
  const body = `<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code>` +
    `<Message>message of ${code}</Message><RequestId>REQ123</RequestId></Error>`;
  return { status, headers: { "content-type": "application/xml", "x-amz-request-id": "REQ123", ...headers }, body };
}

/** A running stand-in. */
export class StandIn {
  /** All requests so far. */
  readonly asked: Asked[] = [];
  /** What comes next, one for each request; afterwards `usual`. */
  readonly script: Answer[] = [];
  /** Answers requests beyond the script. */
  usual: (asked: Asked) => Answer;
  /** Requests whose connection the client has ended before the answer did. */
  abandoned = 0;
  readonly bucket = new BucketInMemory();
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #stores: S3Store[] = [];
  readonly #listeners: Array<() => void> = [];

  readonly #open: (options: S3Options) => S3Store;

  private constructor(open: (options: S3Options) => S3Store) {
    this.#open = open;
    this.usual = (asked) => this.bucket.answer(asked);
    this.#server = createServer((request, response) => void this.#serve(request, response));
    this.#server.on("connection", (socket) => {
      this.#sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        this.#sockets.delete(socket);
        this.#tell();
      });
    });
  }

  /** Starts one on a free port. */
  static async start(): Promise<StandIn> {
    // Here, and not with this file: the AWS SDK reads the environment when it is loaded.
    const { s3Store } = await import("../../src/store/s3_store.ts");
    const standIn = new StandIn(s3Store);
    await new Promise<void>((resolve) => standIn.#server.listen(0, "127.0.0.1", resolve));
    return standIn;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Connections that are open. */
  get connections(): number {
    return this.#sockets.size;
  }

  /** A store of its bucket, closed with the stand-in. */
  store(options: Partial<S3Options> = {}): S3Store {
    const credentials = { accessKeyId: "testkey", secretAccessKey: "testsecret" };
    const store = this.#open({ bucket: "bucket", endpoint: this.endpoint, credentials, ...options });
    this.#stores.push(store);
    return store;
  }

  /** Resolves when `count` requests have arrived. */
  async arrived(count: number): Promise<void> {
    await this.#when(() => this.asked.length >= count);
  }

  /** Resolves when `condition` holds; looked at when requests come and when they and connections end. */
  async #when(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => void this.#listeners.push(resolve));
  }

  /** Resolves when the client has given up `count` requests. */
  async wasAbandoned(count: number): Promise<void> {
    await this.#when(() => this.abandoned >= count);
  }

  /** Resolves when nobody is connected. */
  async isLeft(): Promise<void> {
    await this.#when(() => this.#sockets.size === 0);
  }

  async close(): Promise<void> {
    for (const store of this.#stores) await store.close();
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Uint8Array[] = [];
    try {
      for await (const chunk of request) chunks.push(chunk as Uint8Array);
    } catch {
      return;
    }
    response.on("close", () => {
      if (!response.writableFinished) this.abandoned++;
      this.#tell();
    });
    const url = new URL(request.url ?? "/", "http://localhost");
    const asked: Asked = {
      method: request.method ?? "",
      key: decodeURIComponent(url.pathname).replace(/^\/[^/]*\/?/, ""),
      query: url.searchParams,
      headers: request.headers as Record<string, string>,
      body: new Uint8Array(Buffer.concat(chunks)),
    };
    this.asked.push(asked);
    const answer = this.script.shift() ?? "as usual";
    this.#give(asked, answer === "as usual" ? this.usual(asked) : answer, response);
    this.#tell();
  }

  #give(asked: Asked, answer: Answer, response: ServerResponse): void {
    if (answer === "hang") return;
    if (answer === "done, then drop") this.usual(asked);
    if (typeof answer === "string") {
      response.destroy();
      return;
    }
    const { status, headers = {}, announced, stalls = false } = answer;
    const body = typeof answer.body === "string" ? new TextEncoder().encode(answer.body) : answer.body;
    const withoutBody = asked.method === "HEAD" || status === 204 || status === 304;
    const length = announced ?? body?.length ?? 0;
    response.writeHead(status, {
      ...(withoutBody && announced === undefined || "transfer-encoding" in headers ? {} : { "content-length": length }),
      ...headers,
    });
    if (body === undefined || withoutBody) response.end();
    else if (announced === undefined) response.end(body);
    else response.write(body, () => stalls ? undefined : response.destroy());
  }

  #tell(): void {
    for (const listener of this.#listeners.splice(0)) listener();
  }
}

/** One bucket as S3 keeps it. */
export class BucketInMemory {
  readonly objects = new Map<string, { readonly body: Uint8Array; readonly putId: string | undefined }>();
  /** Parts of unfinished uploads, by id. */
  readonly uploads = new Map<string, Map<number, Uint8Array>>();
  #uploadIds = 0;

  answer(asked: Asked): Answer {
    const { method, query } = asked;
    if (query.has("uploads") || query.has("uploadId")) return this.#multipart(asked);
    if (method === "POST" && query.has("delete")) return this.#deleteMany(asked);
    if (method === "GET" && query.has("list-type")) return this.#list(query);
    if (method === "PUT") return this.#put(asked);
    if (method === "DELETE") {
      this.objects.delete(asked.key);
      return { status: 204 };
    }
    return this.#read(asked);
  }

  #put({ key, headers, body }: Asked): Answer {
    const source = headers["x-amz-copy-source"];
    if (source !== undefined) {
      const original = this.objects.get(decodeURIComponent(source).replace(/^\/?[^/]*\//, ""));
      if (original === undefined) return refusal(404, "NoSuchKey");
      this.objects.set(key, { body: original.body, putId: undefined });
      return { status: 200, body: '<CopyObjectResult><ETag>"e"</ETag></CopyObjectResult>' };
    }
    if (headers["if-none-match"] === "*" && this.objects.has(key)) return refusal(412, "PreconditionFailed");
    this.objects.set(key, { body, putId: headers["x-amz-meta-slatedbputid"] });
    return { status: 200, headers: { etag: '"e"' } };
  }

  #read({ method, key, headers }: Asked): Answer {
    const object = this.objects.get(key);
    if (object === undefined) return method === "HEAD" ? { status: 404 } : refusal(404, "NoSuchKey");
    const { body, putId } = object;
    const about = {
      etag: '"e"',
      "last-modified": "Sat, 21 Nov 2026 12:00:00 GMT",
      ...(putId === undefined ? {} : { "x-amz-meta-slatedbputid": putId }),
    };
    if (method === "HEAD") return { status: 200, headers: about, announced: body.length };
    const range = /^bytes=(\d+)-(\d+)$/.exec(headers["range"] ?? "");
    if (range === null) return { status: 200, headers: about, body };
    const first = Number(range[1]);
    if (first >= body.length) return refusal(416, "InvalidRange");
    const part = body.subarray(first, Number(range[2]) + 1);
    const said = `bytes ${first}-${first + part.length - 1}/${body.length}`;
    return { status: 206, headers: { ...about, "content-range": said }, body: part };
  }

  #list(query: URLSearchParams): Answer {
    const prefix = query.get("prefix") ?? "";
    const after = query.get("start-after") ?? "";
    const names = [...this.objects.keys()].sort().filter((name) => name.startsWith(prefix) && name > after);
    const max = Number(query.get("max-keys") ?? 1000);
    const entries = names.slice(0, max).map((name) =>
      `<Contents><Key>${name}</Key><LastModified>2026-11-21T12:00:00.000Z</LastModified>` +
      `<Size>${this.objects.get(name)!.body.length}</Size></Contents>`
    );
    const body = `<ListBucketResult><IsTruncated>${names.length > max}</IsTruncated>${
      entries.join("")
    }</ListBucketResult>`;
    return { status: 200, headers: { "content-type": "application/xml" }, body };
  }

  #deleteMany({ body }: Asked): Answer {
    const keys = [...new TextDecoder().decode(body).matchAll(/<Key>([^<]*)<\/Key>/g)].map(([, key]) => key!);
    for (const key of keys) this.objects.delete(key);
    return { status: 200, body: "<DeleteResult></DeleteResult>" };
  }

  #multipart({ method, key, query, body }: Asked): Answer {
    if (method === "POST" && query.has("uploads")) {
      const id = `upload-${++this.#uploadIds}`;
      this.uploads.set(id, new Map());
      return {
        status: 200,
        body: `<InitiateMultipartUploadResult><UploadId>${id}</UploadId></InitiateMultipartUploadResult>`,
      };
    }
    const id = query.get("uploadId") ?? "";
    const parts = this.uploads.get(id);
    if (parts === undefined) return refusal(404, "NoSuchUpload");
    if (method === "PUT") {
      parts.set(Number(query.get("partNumber")), body);
      return { status: 200, headers: { etag: `"p${query.get("partNumber")}"` } };
    }
    this.uploads.delete(id);
    if (method === "DELETE") return { status: 204 };
    const whole = [...parts].sort(([a], [b]) => a - b).map(([, part]) => part);
    this.objects.set(key, { body: new Uint8Array(Buffer.concat(whole)), putId: undefined });
    return {
      status: 200,
      body: '<CompleteMultipartUploadResult><ETag>"e"</ETag></CompleteMultipartUploadResult>',
    };
  }
}
