/**
 * Which codecs this runtime can test.
 *
 * @module
 */
import { isCodecAvailable } from "../../src/format/compression.ts";

/** Why tests of zstd are left out, or false when they are not. */
export const zstdMissing: false | string = isCodecAvailable(4) ? false : "left out: this runtime has no zstd";
