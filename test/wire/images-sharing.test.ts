/** Who sees images of users, and who may do what with them: visibility, members, tags, deactivation. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { describe, test } from 'node:test'
import { TINY_IMAGE_ID } from '../../src/images/image-store.ts'
import { addActive, assertImageFault, createImage, JSON_PLEASE, patch, show } from '../support/image-requests.ts'
import { sharedCloud } from '../support/shared-cloud.ts'
import { type Client, DATABASES } from '../support/test-cloud.ts'

const add = (path: string, value: unknown) => ({ op: 'add', path, value })
const replace = (path: string, value: unknown) => ({ op: 'replace', path, value })

const idsOf = async (client: Client, query = ''): Promise<string[]> =>
  (await client.get(`//image/v2/images?limit=1000${query}`)).json().images.map(({ id }: { id: string }) => id)

for (const database of DATABASES) {
  describe(database, () => {
    const shared = sharedCloud({ database, config: { quotaImages: -1 } })

    test('who sees an image, and who may change it', async () => {
      const cloud = shared()
      const stranger = await cloud.stranger()
      const id = await createImage(cloud.member)
      const sees = async (client: Client) => [
        (await client.get(`//v2/images/${id}`)).statusCode === 200,
        (await idsOf(client)).includes(id),
        (await idsOf(client, '&visibility=community')).includes(id),
      ]
      const become = (visibility: string, who = cloud.member) => patch(who, id, [replace('/visibility', visibility)])
      assert.deepEqual(await sees(stranger), [false, false, false])
      await become('community')
      assert.deepEqual(await sees(stranger), [true, false, true])
      assert.deepEqual(await sees(cloud.member), [true, true, true])
      assertImageFault(await patch(stranger, id, [replace('/name', 'x')]), 403)
      assertImageFault(
        await stranger.request({ method: 'DELETE', url: `//v2/images/${id}`, headers: JSON_PLEASE }),
        403,
      )
      assert.equal((await become('public', cloud.admin)).statusCode, 200)
      assert.deepEqual(await sees(stranger), [true, true, false])
      // It is public already: who changes something else need not be an admin.
      assert.equal((await patch(cloud.member, id, [replace('/visibility', 'public'), add('/x', 'y')])).statusCode, 200)
      await become('private')
      assert.deepEqual(await sees(stranger), [false, false, false])
      assertImageFault(await patch(stranger, id, [replace('/name', 'x')]), 404)
      assertImageFault(await patch(cloud.member, TINY_IMAGE_ID, [replace('/name', 'x')]), 403)
    })

    test('a shared image is seen by its members, and listed for those who accepted it', async () => {
      const cloud = shared()
      const [friend, stranger] = [await cloud.stranger(), await cloud.stranger()]
      const id = await createImage(cloud.member)
      const members = `//v2/images/${id}/members`
      const put = (client: Client, status: unknown, member = friend.projectId) =>
        client.request({ method: 'PUT', url: `${members}/${member}`, payload: { status }, headers: JSON_PLEASE })
      assert.equal((await cloud.member.post(members, { member: friend.projectId })).statusCode, 200)
      assertImageFault(await cloud.member.post(members, { member: friend.projectId }, JSON_PLEASE), 409)
      assertImageFault(await cloud.member.post(members, { member: '' }, JSON_PLEASE), 400)
      assertImageFault(await cloud.member.post(members, {}, JSON_PLEASE), 400)
      assert.equal((await friend.get(`//v2/images/${id}`)).statusCode, 200)
      const listed = async (query = '') => (await idsOf(friend, query)).includes(id)
      assert.deepEqual([await listed(), await listed('&member_status=pending')], [false, true])
      assertImageFault(await put(cloud.member, 'accepted'), 403)
      assertImageFault(await put(friend, 'perhaps'), 400)
      assert.equal((await put(friend, 'accepted')).json().status, 'accepted')
      assert.deepEqual([await listed(), await listed('&member_status=pending')], [true, false])
      assert.equal((await put(friend, 'rejected')).statusCode, 200)
      assert.deepEqual(
        [await listed(), await listed('&member_status=all'), await listed('&visibility=shared')],
        [false, true, false],
      )
      assertImageFault(await put(stranger, 'accepted', stranger.projectId), 404)
      assertImageFault(await stranger.get(members, JSON_PLEASE), 404)
      await cloud.member.post(members, { member: stranger.projectId })
      const count = async (client: Client) => (await client.get(members)).json().members.length
      assert.deepEqual([await count(cloud.member), await count(friend)], [2, 1])
      assertImageFault(await friend.get(`${members}/${stranger.projectId}`, JSON_PLEASE), 404)
      assertImageFault(await friend.post(members, { member: 'x' }, JSON_PLEASE), 403)
      assert.equal((await cloud.member.delete(`${members}/${friend.projectId}`)).statusCode, 204)
      assert.equal((await friend.get(`//v2/images/${id}`)).statusCode, 404)
      assert.equal((await cloud.member.delete(`${members}/${friend.projectId}`)).statusCode, 404)
      await patch(cloud.member, id, [replace('/visibility', 'private')])
      assert.equal((await stranger.get(`//v2/images/${id}`)).statusCode, 404)
      assertImageFault(await cloud.member.post(members, { member: 'x' }, JSON_PLEASE), 403)
    })

    test('tags come and go one by one', async () => {
      const cloud = shared()
      const id = await createImage(cloud.member)
      const tag = (method: 'PUT' | 'DELETE', word: string) =>
        cloud.member.request({
          method,
          url: `//v2/images/${id}/tags/${encodeURIComponent(word)}`,
          headers: JSON_PLEASE,
        })
      for (const word of ['a', 'b/c', 'a']) assert.equal((await tag('PUT', word)).statusCode, 204)
      assert.deepEqual((await show(cloud.member, id)).tags, ['a', 'b/c'])
      assert.equal((await tag('DELETE', 'a')).statusCode, 204)
      assertImageFault(await tag('DELETE', 'a'), 404)
      assert.deepEqual((await show(cloud.member, id)).tags, ['b/c'])
    })

    test('a deactivated image is for admins, until it is reactivated', async () => {
      const cloud = shared()
      const bytes = randomBytes(700)
      const id = await addActive(cloud.member, bytes)
      const act = (action: string) => cloud.member.post(`//v2/images/${id}/actions/${action}`, undefined, JSON_PLEASE)
      for (let times = 0; times < 2; times++) assert.equal((await act('deactivate')).statusCode, 204)
      assert.equal((await show(cloud.member, id)).status, 'deactivated')
      const get = (client: Client) => client.get(`//v2/images/${id}/file`, JSON_PLEASE)
      assertImageFault(await get(cloud.member), 403)
      assert.equal((await get(cloud.admin)).rawPayload.length, 700)
      const { server } = await cloud.wish({ imageRef: id })
      assert.equal((await cloud.member.post('/servers', { server })).statusCode, 400)
      await act('reactivate')
      assert.ok((await get(cloud.member)).rawPayload.equals(bytes))
      const queued = await createImage(cloud.member)
      assertImageFault(await cloud.member.post(`//v2/images/${queued}/actions/deactivate`, undefined, JSON_PLEASE), 403)
    })
  })
}
