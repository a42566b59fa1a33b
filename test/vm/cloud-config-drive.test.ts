/** A real guest that has both a config drive and a network reads the same from either. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import { test } from 'node:test'
import { SHARED_NETWORK_ID } from '../../src/networks/seed-networks.ts'
import { TenantCloud } from './tenant-cloud.ts'

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')

/** Finds the drive by its label, as guests do, and tells what it is, what is on it, and what the service says. */
const LOOK = `
set -e
for disk in /dev/vd?; do
  [ "$(dd if=$disk bs=8 skip=4101 count=1 2>/dev/null)" = config-2 ] && break
done
name=\${disk##*/}
echo "name $name"
echo "readOnly $(cat /sys/block/$name/ro)"
echo "image $(sha256sum <$disk | cut -d' ' -f1)"
modprobe isofs
mkdir -p /run/drive
mount -t iso9660 -o ro $disk /run/drive
cd /run/drive/openstack/latest
echo "mode $(stat -c %a:%u meta_data.json)"
for file in meta_data.json network_data.json vendor_data.json vendor_data2.json user_data; do
  echo "drive:$file $(base64 <$file | tr -d '\\n')"
  echo "service:$file $(wget -q -O - http://169.254.169.254/openstack/latest/$file | base64 | tr -d '\\n')"
done
echo "brought $(cat ../content/0000)"
`

test('a guest finds its drive by the label, cannot write to it, and reads there what the service says', async () => {
  await using cloud = await TenantCloud.open()
  const userData = Buffer.from(Array.from({ length: 2_000 }, (_, at) => (at * 7) % 256))
  const id = await cloud.makeServer(
    'Driven',
    SHARED_NETWORK_ID,
    {},
    {
      config_drive: true,
      metadata: { role: 'web' },
      user_data: userData.toString('base64'),
      personality: [{ path: '/etc/motd', contents: Buffer.from('brought').toString('base64') }],
    },
  )
  const server = await cloud.untilUp(id)
  assert.equal((await cloud.client.get(`/servers/${id}`)).server.config_drive, 'True')
  await cloud.untilWorks('ssh answers', () => cloud.sshFromInside(server, 'true'))
  const told = await cloud.sshFromInside(server, LOOK)
  const found = new Map(
    told
      .trim()
      .split('\n')
      .map((line) => line.split(' ', 2) as [string, string]),
  )

  const file = `${cloud.data.path}/servers/${id}/config-drive.iso`
  assert.equal(found.get('image'), sha256(await readFile(file)))
  const { mode, uid } = await stat(file)
  assert.equal(mode & 0o777, 0o600)
  assert.notEqual(uid, 0)
  assert.equal(found.get('readOnly'), '1')
  assert.equal(found.get('mode'), '400:0')
  assert.notEqual(found.get('name'), 'vda')
  assert.equal(found.get('brought'), 'brought')

  const read = (source: string, name: string) => Buffer.from(found.get(`${source}:${name}`) ?? '', 'base64')
  assert.deepEqual(read('drive', 'user_data'), userData)
  assert.deepEqual(read('service', 'user_data'), userData)
  for (const name of ['meta_data.json', 'network_data.json', 'vendor_data.json', 'vendor_data2.json']) {
    const [onDrive, fromService] = ['drive', 'service'].map((source) => {
      // Another one each time.
      const { random_seed, ...rest } = JSON.parse(String(read(source, name)))
      assert.equal(random_seed !== undefined, name === 'meta_data.json')
      return rest
    })
    assert.deepEqual(onDrive, fromService, name)
  }
  const metaData = JSON.parse(String(read('drive', 'meta_data.json')))
  assert.deepEqual([metaData.uuid, metaData.hostname, metaData.meta], [id, 'driven', { role: 'web' }])
})
