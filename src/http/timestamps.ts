/** `YYYY-MM-DDTHH:MM:SSZ`, timestamp A of shared/spec/uos-compute.md. */
export const timestampA = (at: number): string => `${new Date(at).toISOString().slice(0, 19)}Z`

/** `YYYY-MM-DDTHH:MM:SS.ffffff` without a zone, timestamp B. Ours count milliseconds. */
export const timestampB = (at: number): string => `${new Date(at).toISOString().slice(0, 23)}000`

/** Timestamp B, or null. */
export const timestampBOrNull = (at: number | null): string | null => (at === null ? null : timestampB(at))

/** `YYYY-MM-DDTHH:MM:SS.ffffffZ`, as the identity service writes it. */
export const timestampIdentity = (at: number): string => `${timestampB(at)}Z`
