/** The one compute API there is, as Nova describes its own. `base` has no slash at the end. */
function version(base: string) {
  return {
    id: 'v2.0',
    status: 'CURRENT',
    // Empty: this API has no microversions.
    version: '',
    min_version: '',
    updated: '2026-11-24T00:00:00Z',
    links: [{ rel: 'self', href: `${base}/v2/` }],
  }
}

/** Answer to `GET /`. Source: nova/api/openstack/compute/versions.py. */
export const versionsView = (base: string) => ({ versions: [version(base)] })

/** Answer to `GET /v2/`. Source: as above. */
export const versionView = (base: string) => ({
  version: {
    ...version(base),
    'media-types': [{ base: 'application/json', type: 'application/vnd.openstack.compute+json;version=2' }],
  },
})
