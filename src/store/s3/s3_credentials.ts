/**
 * Credentials that a program gives, checked before anything is signed with them.
 *
 * Invariants:
 * - No wait for them is without an end: the SDK lets every later request wait for the same answer.
 * - Nothing of what was given, and nothing that a function failed with, is in any message (invariant N2).
 *
 * @module
 */
/** What signs requests. */
export interface S3Credentials {
  /** The key's name, which goes with each request. */
  readonly accessKeyId: string;
  /** The key itself, which signs and is never sent. */
  readonly secretAccessKey: string;
  /** Of temporary credentials. */
  readonly sessionToken?: string | undefined;
  /** When they end; they are asked for anew shortly before. */
  readonly expiration?: Date | undefined;
}

/** Credentials as the SDK takes them: it tells an absent field from an undefined one. */
export interface S3Identity {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
  readonly expiration?: Date;
}

/** Longest wait for credentials, ms; half a request's time if that is less, so that the request can say so. */
const WAIT_MILLIS_MAX = 10_000;

/** How long a store waits for credentials, ms. */
export function credentialsWait(requestTimeoutMillis: number): number {
  return Math.min(WAIT_MILLIS_MAX, Math.ceil(requestTimeoutMillis / 2));
}

/** What is wrong with `value` as credentials, or undefined. Repeats nothing of it. */
export function credentialsProblem(value: unknown): string | undefined {
  if (typeof value !== "object" || value === null) return "give { accessKeyId, secretAccessKey }";
  const { accessKeyId, secretAccessKey, sessionToken, expiration } = value as Readonly<Record<string, unknown>>;
  for (const [name, text] of Object.entries({ accessKeyId, secretAccessKey })) {
    if (typeof text !== "string" || text === "") return `${name} is missing`;
  }
  for (const [name, text] of Object.entries({ accessKeyId, secretAccessKey, sessionToken })) {
    if (text === undefined && name === "sessionToken") continue;
    // They go into headers; a line end or a blank comes from a file that was read with it.
    if (typeof text !== "string" || !/^[\x21-\x7e]+$/.test(text)) {
      return `${name} must be text without blanks, line ends or other unusual characters`;
    }
  }
  if (expiration === undefined) return undefined;
  const isDate = expiration instanceof Date && Number.isFinite(expiration.getTime());
  return isDate ? undefined : "expiration must be a Date that is valid";
}

/** What the SDK signs with. Rejects with an error whose name says what is wrong. */
export function identityOf(value: unknown): S3Identity {
  if (credentialsProblem(value) !== undefined) throw named("CredentialsMalformed");
  const { accessKeyId, secretAccessKey, sessionToken, expiration } = value as S3Credentials;
  return {
    accessKeyId,
    secretAccessKey,
    ...(sessionToken === undefined ? {} : { sessionToken }),
    ...(expiration === undefined ? {} : { expiration }),
  };
}

/**
 * Credentials that a function gives. The SDK has one call under way at most, for which all requests wait; a fiber that
 * has waited long enough ends that call for all of them.
 */
export class CredentialsSource {
  readonly #ask: () => Promise<S3Credentials>;
  #giveUp: (() => void) | undefined = undefined;
  #isKnown = false;

  constructor(ask: () => Promise<S3Credentials>) {
    this.#ask = ask;
  }

  /** Whether requests can be signed without waiting, as far as is known here. */
  get isKnown(): boolean {
    return this.#isKnown && this.#giveUp === undefined;
  }

  /** Asks the function. Its own failure is not passed on: it may tell of secrets. */
  readonly identity = (): Promise<S3Identity> =>
    new Promise((resolve, reject) => {
      const giveUp = () => reject(named("CredentialsLate"));
      this.#giveUp = giveUp;
      const ended = () => {
        if (this.#giveUp === giveUp) this.#giveUp = undefined;
      };
      this.#asked().then((identity) => {
        this.#isKnown = true;
        ended();
        resolve(identity);
      }, (error) => {
        ended();
        reject(error);
      });
    });

  /** Ends the call that is under way, if there is one: whoever waits for it fails, and the next one asks again. */
  giveUp(): void {
    const giveUp = this.#giveUp;
    this.#giveUp = undefined;
    giveUp?.();
  }

  async #asked(): Promise<S3Identity> {
    let given: unknown;
    try {
      given = await this.#ask();
    } catch {
      throw named("CredentialsProviderError");
    }
    return identityOf(given);
  }
}

function named(name: "CredentialsMalformed" | "CredentialsProviderError" | "CredentialsLate"): Error {
  return Object.assign(new Error("There are no credentials to sign with"), { name });
}
