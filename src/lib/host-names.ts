/**
 * A name as a host name: lower case, what a host name cannot hold dropped or turned into `-`, 63 characters.
 * Source: shared/spec/nova-v21.md, section 2.2, `hostname`.
 */
export function hostNameOf(name: string): string {
  const plain = name
    .toLowerCase()
    .replace(/[\s_]+/g, '-')
    .replace(/[^a-z0-9.-]/g, '')
    .replace(/\.+/g, '-')
    .replace(/^-+/, '')
    .slice(0, 63)
    .replace(/-+$/, '')
  return plain === '' ? 'server' : plain
}
