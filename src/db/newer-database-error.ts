/** The database was last written by a newer Novella; its tables may hold what this one does not know. */
export class NewerDatabaseError extends Error {
  override readonly name = 'NewerDatabaseError'
}
