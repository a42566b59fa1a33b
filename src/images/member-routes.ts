import type { Cloud } from '../cloud.ts'
import type { App } from '../http/app.ts'
import {
  AddMemberRequest,
  ImagePath,
  MemberAnswer,
  MemberListAnswer,
  MemberPath,
  UpdateMemberRequest,
} from './image-schema.ts'
import { memberView } from './image-view.ts'
import { addMember, getMember, listMembers, removeMember, setMemberStatus } from './member-store.ts'

/** Projects that an image is shared with. @param path of the images. */
export function memberRoutes(app: App, cloud: Cloud, path: string): void {
  const { read } = cloud.db
  const members = `${path}/:imageId/members`
  const reads = { operation: 'images:read' } as const
  const writes = { operation: 'images:write' } as const

  app.get(
    members,
    { schema: { params: ImagePath, response: { 200: MemberListAnswer } }, config: reads },
    async ({ params, caller }) => ({
      members: (await listMembers(read, caller, params.imageId)).map(memberView),
      schema: '/v2/schemas/members',
    }),
  )

  app.get(
    `${members}/:memberId`,
    { schema: { params: MemberPath, response: { 200: MemberAnswer } }, config: reads },
    async ({ params, caller }) => memberView(await getMember(read, caller, params.imageId, params.memberId)),
  )

  app.post(
    members,
    { schema: { params: ImagePath, body: AddMemberRequest, response: { 200: MemberAnswer } }, config: writes },
    async ({ params, body, caller }) => memberView(await addMember(cloud, caller, params.imageId, body.member)),
  )

  app.put(
    `${members}/:memberId`,
    { schema: { params: MemberPath, body: UpdateMemberRequest, response: { 200: MemberAnswer } }, config: writes },
    async ({ params, body, caller }) =>
      memberView(await setMemberStatus(cloud, caller, params.imageId, params.memberId, body.status)),
  )

  app.delete(
    `${members}/:memberId`,
    { schema: { params: MemberPath }, config: writes },
    async ({ params, caller }, reply) => {
      await removeMember(cloud, caller, params.imageId, params.memberId)
      return reply.code(204).send()
    },
  )
}
