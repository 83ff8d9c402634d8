/**
 * Byte strings that come in pieces.
 *
 * Builders and uploads hand out chunks, so that nobody has to grow one large array; who needs the whole joins them once.
 *
 * @module
 */

/** The chunks as one array; a single chunk is returned as it is, not copied. */
export function joinChunks(chunks: ReadonlyArray<Uint8Array>): Uint8Array {
  if (chunks.length === 1) return chunks[0]!;
  let size = 0;
  for (const chunk of chunks) size += chunk.length;
  const joined = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    joined.set(chunk, at);
    at += chunk.length;
  }
  return joined;
}
