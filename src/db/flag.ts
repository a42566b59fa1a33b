/** A truth value in a column: 0 or 1. */
export type Flag = 0 | 1
