/**
 * What identity says of its version.
 * @param url where v3 is, with a slash at the end: clients take it as it stands.
 * Source: shared/spec/neighbours.md, section 1.3.
 */
export function identityVersion(url: string) {
  return {
    id: 'v3.14',
    status: 'stable',
    updated: '2020-04-07T00:00:00Z',
    links: [{ rel: 'self', href: url }],
    'media-types': [{ base: 'application/json', type: 'application/vnd.openstack.identity-v3+json' }],
  }
}
