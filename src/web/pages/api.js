/**
 * The public API, as any other client uses it; a session is what session.js keeps.
 */

/** The API said no; `message` is what it said, `status` its code, 0 when it could not be reached. */
export class ApiFailure extends Error {
  constructor(status, message) {
    super(message)
    this.status = status
  }
}

/** Several projects are possible; `names` are all of them. */
export class ProjectNeeded extends Error {
  constructor(names) {
    super('You are in several projects. Choose one of them.')
    this.names = names
  }
}

async function ask(path, { token, ...options } = {}) {
  const headers = { accept: 'application/json', 'content-type': 'application/json' }
  if (token) headers['x-auth-token'] = token
  let response
  try {
    response = await fetch(path, { ...options, headers: { ...headers, ...options.headers }, cache: 'no-store' })
  } catch {
    throw new ApiFailure(0, 'Novella cannot be reached.')
  }
  const body = await response.json().catch(() => undefined)
  if (!response.ok) throw new ApiFailure(response.status, faultOf(body) ?? `Novella answered ${response.status}.`)
  return { body, headers: response.headers }
}

/** Every service wraps its message in one object, each under a name of its own. */
const faultOf = (body) => Object.values(body ?? {}).find((fault) => typeof fault?.message === 'string')?.message

async function askForToken(identity, scope) {
  const auth = scope ? { identity, scope } : { identity }
  const { body, headers } = await ask('/v3/auth/tokens', { method: 'POST', body: JSON.stringify({ auth }) })
  return { token: headers.get('x-subject-token'), ...body.token }
}

/**
 * Logs in. Without a project it is the user's default one, or else the only one.
 * @throws ApiFailure; ProjectNeeded when there are several.
 */
export async function logIn({ user, password, project }) {
  const domain = { id: 'default' }
  const identity = { methods: ['password'], password: { user: { name: user, domain, password } } }
  const scope = project ? { project: { name: project, domain } } : undefined
  let answer = await askForToken(identity, scope)
  if (!answer.project) answer = await askForToken(...(await chooseProject(answer.token)))
  return {
    token: answer.token,
    userName: answer.user.name,
    projectId: answer.project.id,
    projectName: answer.project.name,
  }
}

async function chooseProject(token) {
  const { body } = await ask('/v3/auth/projects', { token })
  const [first, ...others] = body.projects
  if (!first) throw new ApiFailure(403, 'You are in no project yet. Ask an administrator for a role in one.')
  if (others.length > 0) throw new ProjectNeeded(body.projects.map((project) => project.name))
  return [{ methods: ['token'], token: { id: token } }, { project: { id: first.id } }]
}

/** Revokes the token; that it was revoked before, or cannot be now, is no matter. */
export async function logOut({ token }) {
  await ask('/v3/auth/tokens', { method: 'DELETE', token, headers: { 'x-subject-token': token } }).catch(() => {})
}

/** The newest servers, and whether there are more. */
export async function listServers({ token, projectId }) {
  const { body } = await ask(`/v2/${projectId}/servers/detail?limit=200`, { token })
  return { servers: body.servers, hasMore: (body.servers_links ?? []).length > 0 }
}

/** What a first server can be made of: ids of an image and of the smallest flavor it fits. */
export async function findStarter({ token, projectId }) {
  const [images, flavors] = await Promise.all([
    ask('/v2/images', { token }),
    ask(`/v2/${projectId}/flavors/detail`, { token }),
  ])
  const image = images.body.images.find((one) => one.status === 'active')
  const fits = flavors.body.flavors.filter(
    (one) => one.ram >= (image?.min_ram ?? 0) && one.disk >= (image?.min_disk ?? 0),
  )
  const [flavor] = fits.sort((a, b) => a.ram - b.ram || a.vcpus - b.vcpus || a.disk - b.disk)
  return { imageId: image?.id ?? 'IMAGE', flavorId: flavor?.id ?? 'FLAVOR' }
}

/** What a server does, and how the system inside says it is. */
export async function readDiagnostics({ token, projectId }, serverId) {
  const { body } = await ask(`/v2/${projectId}/servers/${serverId}/diagnostics`, { token })
  return body
}

const CONSOLE_ACTIONS = { novnc: 'os-getVNCConsole', serial: 'os-getSerialConsole' }

/** A token for a console of a server, good for one opening. @param type `novnc` or `serial` */
export async function askForConsole({ token, projectId }, serverId, type) {
  const { body } = await ask(`/v2/${projectId}/servers/${serverId}/action`, {
    method: 'POST',
    token,
    body: JSON.stringify({ [CONSOLE_ACTIONS[type]]: { type } }),
  })
  return new URL(body.console.url).searchParams.get('token')
}
