/**
 * What a guest finds on its config drive: the same facts as it would be told at 169.254.169.254, in files. Pure.
 * Source: Nova's user guide, "Config drives"; cloud-init, sources/DataSourceConfigDrive.py.
 */
import { ec2Tree } from './ec2-tree.ts'
import type { GuestFacts } from './guest-facts.ts'
import type { IsoFile } from './iso9660/iso-tree.ts'
import { writeIso } from './iso9660/write-iso.ts'
import { openstackTree } from './openstack-tree.ts'
import { branchValue, type Tree } from './tree.ts'

/** By this label guests find it. */
const LABEL = 'config-2'
/** Of EC2's versions those that config drives have. */
const EC2_VERSIONS = ['2009-04-04', 'latest']

/** The drive's image: ISO 9660. @param now epoch milliseconds. */
export const buildConfigDrive = (facts: GuestFacts, now: number): Buffer =>
  writeIso(LABEL, configDriveFiles(facts), now)

/** Its files. A password, which a guest posts, is not among them: nobody can post to a drive. */
export function configDriveFiles(facts: GuestFacts): IsoFile[] {
  const ec2 = ec2Tree(facts)
  const openstack = filesOf(openstackTree(facts), 'openstack').filter(({ path }) => !path.endsWith('/password'))
  return [
    ...openstack,
    ...EC2_VERSIONS.flatMap((version) => {
      const { 'meta-data': metaData, ...others } = ec2[version] as { [name: string]: Tree }
      const content = Buffer.from(JSON.stringify(branchValue(metaData ?? {})))
      return [{ path: `ec2/${version}/meta-data.json`, content }, ...filesOf(others, `ec2/${version}`)]
    }),
  ]
}

const filesOf = (branch: Tree, path: string): IsoFile[] =>
  Object.entries(branch).flatMap(([name, member]) =>
    typeof member === 'function'
      ? [{ path: `${path}/${name}`, content: Buffer.from(member()) }]
      : filesOf(member, `${path}/${name}`),
  )
