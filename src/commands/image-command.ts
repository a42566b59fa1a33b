/** `novella image`: for people who have an image and no OpenStack client. It speaks the API, like any other client. */
import { createReadStream, existsSync } from 'node:fs'
import { open, readFile } from 'node:fs/promises'
import { request as requestPlain } from 'node:http'
import { request as requestTls } from 'node:https'
import { basename, join } from 'node:path'
import { Readable, Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { type Config, readConfig } from '../config.ts'
import { isUuidLike } from '../lib/ids.ts'
import { guessFormat } from './guess-format.ts'
import { ImageCommandError, type ImageWords, readImageWords } from './image-words.ts'

interface Access {
  url: string
  token: string
  /** Whose images names mean. */
  projectId: string
}

/** `image add | list | delete`. @returns the exit code. */
export async function imageCommand(args: readonly string[], env: Record<string, string | undefined>): Promise<number> {
  try {
    const words = readImageWords(args)
    const { config } = readConfig(words.settings, env)
    switch (words.verb) {
      case 'add':
        await addImage(words, await logIn(config, env))
        return 0
      case 'list':
        await listImages(await logIn(config, env))
        return 0
      case 'delete':
        await deleteImages(words.names, await logIn(config, env))
        return 0
    }
  } catch (error) {
    if (!(error instanceof ImageCommandError)) throw error
    console.error(`novella: ${error.message}`)
    return 1
  }
}

/** With the variables of a sourced openrc, or else with the administrator's that `up` wrote. */
async function logIn(config: Config, env: Record<string, string | undefined>): Promise<Access> {
  const file = join(config.data, 'openrc')
  if (env.OS_AUTH_URL === undefined && !existsSync(file)) {
    throw new ImageCommandError(
      `there is no ${file}. Start Novella with 'novella up', or say where it is with --data, or source an openrc.`,
    )
  }
  const given = env.OS_AUTH_URL === undefined ? parseOpenrc(await readFile(file, 'utf8')) : env
  const auth = given.OS_AUTH_URL?.replace(/\/+$/, '') ?? ''
  const domain = { id: 'default' }
  const body = {
    auth: {
      identity: {
        methods: ['password'],
        password: { user: { name: given.OS_USERNAME, domain, password: given.OS_PASSWORD } },
      },
      scope: { project: { name: given.OS_PROJECT_NAME, domain } },
    },
  }
  const base = auth.replace(/\/(identity\/)?v3$/, '').replace(/\/identity$/, '')
  const answer = await ask(`${base}/identity/v3/auth/tokens`, { method: 'POST', body: JSON.stringify(body) })
  const token = answer.headers.get('x-subject-token')
  if (answer.status !== 201 || token === null) {
    throw new ImageCommandError(`the login of ${given.OS_USERNAME} was refused: ${await messageOf(answer)}`)
  }
  const { token: facts } = (await answer.json()) as { token: { project: { id: string } } }
  return { url: `${base}/image/v2/images`, token, projectId: facts.project.id }
}

/** `export NAME=value`, the value perhaps in quotes. */
function parseOpenrc(text: string): Record<string, string> {
  const lines = [...text.matchAll(/^export (OS_\w+)=(['"]?)(.*)\2$/gm)]
  return Object.fromEntries(lines.map(([, name = '', , value = '']) => [name, value]))
}

async function ask(url: string, options: RequestInit = {}): Promise<Response> {
  const headers = { 'content-type': 'application/json', accept: 'application/json', ...options.headers }
  try {
    return await fetch(url, { ...options, headers })
  } catch (error) {
    throw new ImageCommandError(`${new URL(url).origin} does not answer. Is Novella up?`, { cause: error })
  }
}

async function messageOf(answer: Response): Promise<string> {
  const text = await answer.text()
  try {
    const body = JSON.parse(text)
    return body.message ?? body.error?.message ?? text
  } catch {
    return text.slice(0, 300)
  }
}

async function addImage(words: ImageWords, { url, token }: Access): Promise<void> {
  const [from] = words.names
  if (from === undefined || words.names.length > 1) {
    throw new ImageCommandError('image add takes one file or URL: novella image add debian.qcow2 --name debian')
  }
  const source = /^https?:\/\//.test(from) ? await openUrl(from) : await openFile(from)
  const diskFormat = words.diskFormat ?? guess(source)
  const members = {
    name: words.name ?? basename(from).replace(/\.[a-z0-9]+$/i, ''),
    disk_format: diskFormat,
    container_format: /^a[mkr]i$/.test(diskFormat) ? diskFormat : 'bare',
    visibility: words.isPublic ? 'public' : 'shared',
    ...words.properties,
  }
  const headers = { 'x-auth-token': token }
  const created = await ask(url, { method: 'POST', headers, body: JSON.stringify(members) })
  if (created.status !== 201) throw new ImageCommandError(`the image was refused: ${await messageOf(created)}`)
  const { id } = (await created.json()) as { id: string }
  const refusal = await send(`${url}/${id}/file`, token, source).catch((error: Error) => error.message)
  if (refusal !== undefined) {
    await ask(`${url}/${id}`, { method: 'DELETE', headers })
    throw new ImageCommandError(`the image was not taken: ${refusal}`)
  }
  console.log(`${id}  ${members.name}`)
}

interface Source {
  name: string
  head: Buffer
  sizeBytes: number | undefined
  bytes: Readable
}

function guess({ name, head }: Source): string {
  const { format, why } = guessFormat(name, head)
  if (format === undefined) throw new ImageCommandError(why)
  console.error(`novella: taking it for ${format} (${why}); say otherwise with --disk-format`)
  return format
}

async function openFile(path: string): Promise<Source> {
  if (!existsSync(path)) throw new ImageCommandError(`there is no file ${path}.`)
  await using file = await open(path, 'r')
  const status = await file.stat()
  if (!status.isFile()) throw new ImageCommandError(`${path} is no file.`)
  const head = Buffer.alloc(HEAD_BYTES)
  const { bytesRead } = await file.read(head, 0, HEAD_BYTES, 0)
  const bytes = createReadStream(path, { highWaterMark: 1024 * 1024 })
  return { name: path, head: head.subarray(0, bytesRead), sizeBytes: status.size, bytes }
}

/** What of a file's beginning tells its format. */
const HEAD_BYTES = 40 * 1024

async function openUrl(url: string): Promise<Source> {
  const answer = await fetch(url).catch((error: Error) => {
    throw new ImageCommandError(`${url} cannot be reached: ${(error.cause as Error | undefined)?.message ?? error}`)
  })
  if (!answer.ok || !answer.body) throw new ImageCommandError(`${url} answers ${answer.status} ${answer.statusText}.`)
  const length = answer.headers.get('content-length')
  const body = Readable.fromWeb(answer.body as never)
  const head: Buffer[] = []
  for (let size = 0; size < HEAD_BYTES; size += head.at(-1)?.length ?? 0) {
    const { value, done } = await body.iterator({ destroyOnReturn: false }).next()
    if (done) break
    head.push(Buffer.from(value))
  }
  const beginning = Buffer.concat(head)
  // What was looked at goes back to the front.
  body.unshift(beginning)
  const sizeBytes = length === null || answer.headers.has('content-encoding') ? undefined : Number(length)
  return { name: new URL(url).pathname, head: beginning, sizeBytes, bytes: body }
}

/** @returns why it was refused; undefined when it was taken. */
async function send(url: string, token: string, { bytes, sizeBytes }: Source): Promise<string | undefined> {
  const request = (url.startsWith('https:') ? requestTls : requestPlain)(url, {
    method: 'PUT',
    headers: {
      'x-auth-token': token,
      accept: 'application/json',
      'content-type': 'application/octet-stream',
      ...(sizeBytes === undefined ? {} : { 'content-length': sizeBytes }),
    },
  })
  const answered = new Promise<string | undefined>((resolve, reject) => {
    request.once('error', reject)
    request.once('response', async (answer) => {
      const text = Buffer.concat(await answer.toArray()).toString()
      resolve(answer.statusCode === 204 ? undefined : await messageOf(new Response(text)))
    })
  })
  using progress = newBar(sizeBytes)
  const counted = new Transform({
    transform(chunk, _encoding, done) {
      progress.add(chunk.length)
      done(null, chunk)
    },
  })
  // The answer may come before the end: a refusal says more than a broken pipe.
  const sent = pipeline(bytes, counted, request).then(
    () => progress.say('checking and converting'),
    () => {},
  )
  return Promise.race([answered, sent.then(() => answered)])
}

/** A line that grows, on a terminal; nothing elsewhere. */
function newBar(total: number | undefined) {
  const { stderr } = process
  let done = 0
  let drawnAt = 0
  const draw = (words: string) => stderr.isTTY && stderr.write(`\r\x1b[2K${words}`)
  return {
    add(bytes: number) {
      done += bytes
      const now = performance.now()
      if (now - drawnAt < 100) return
      drawnAt = now
      const mib = `${(done / 2 ** 20).toFixed(0)} MiB`
      if (total === undefined) draw(mib)
      else {
        const share = Math.min(1, done / Math.max(1, total))
        draw(`${'█'.repeat(Math.round(share * 30)).padEnd(30, '░')} ${Math.round(share * 100)} %  ${mib}`)
      }
    },
    say: (words: string) => void draw(`${words} …`),
    [Symbol.dispose]: () => void draw(''),
  }
}

async function listImages({ url, token }: Access): Promise<void> {
  let next: string | undefined = `${url}?limit=100&sort=name:asc`
  while (next !== undefined) {
    const answer = await ask(next, { headers: { 'x-auth-token': token } })
    if (answer.status !== 200) throw new ImageCommandError(await messageOf(answer))
    const page = (await answer.json()) as { images: Record<string, string | number | null>[]; next?: string }
    for (const { id, status, size, name } of page.images) {
      const mib = size === null ? '–' : `${Math.ceil(Number(size) / 2 ** 20)} MiB`
      console.log(`${id}  ${String(status).padEnd(11)}  ${mib.padStart(9)}  ${printable(name)}`)
    }
    next = page.next === undefined ? undefined : url.replace(/\/v2\/images$/, '') + page.next
  }
}

/** Others name their images too, and a name may hold what a terminal obeys. */
const printable = (name: unknown): string => String(name ?? '').replace(/\p{Cc}/gu, '?')

/** An id is the image of that id, never one of that name; a name is one of the project's own images. */
async function deleteImages(names: readonly string[], { url, token, projectId }: Access): Promise<void> {
  if (names.length === 0) throw new ImageCommandError('image delete takes ids or names: novella image delete debian')
  const headers = { 'x-auth-token': token }
  for (const name of names) {
    const query = new URLSearchParams({ name: `in:"${name.replaceAll('"', '')}"`, owner: projectId })
    const list = isUuidLike(name) ? undefined : await ask(`${url}?${query}`, { headers })
    if (list && list.status !== 200) throw new ImageCommandError(`${name}: ${await messageOf(list)}`)
    const { images } = list ? ((await list.json()) as { images: { id: string }[] }) : { images: [{ id: name }] }
    if (images.length > 1) throw new ImageCommandError(`several images are called ${name}; give the id of one.`)
    const id = images[0]?.id ?? name
    const answer = await ask(`${url}/${encodeURIComponent(id)}`, { method: 'DELETE', headers })
    if (answer.status !== 204) throw new ImageCommandError(`${name}: ${await messageOf(answer)}`)
  }
}
