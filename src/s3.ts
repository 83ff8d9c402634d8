/**
 * Databases in S3 and in whatever speaks its protocol.
 *
 * @module
 */
export {};
