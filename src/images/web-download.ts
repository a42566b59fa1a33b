/**
 * Downloads for users, who must not learn or reach by it what only this machine can reach. At each hop, redirects too:
 * all addresses of the name are looked at, one that is not public refuses the whole, and the connection goes to an
 * address that was looked at, not to the name once more.
 */
import { lookup } from 'node:dns/promises'
import { type IncomingMessage, request as requestPlain } from 'node:http'
import { request as requestTls } from 'node:https'
import { isIP } from 'node:net'
import { isPublicAddress } from './public-address.ts'

/** Public servers are asked on these ports. */
const PORTS = [80, 443]
const MOST_HOPS = 5
/** How long a server may take until it answers, in milliseconds. */
const ANSWER_MS = 30_000
const LONGEST_URL = 2_048

/** The URL is none that is downloaded from; the message is for whoever gave it. */
export class WebDownloadError extends Error {
  override readonly name = 'WebDownloadError'
  readonly isFinal = true
}

export interface WebDownloadOptions {
  /** `address:port` of what may be reached besides. */
  inside: ReadonlySet<string>
  /** Ends the download. */
  signal: AbortSignal
}

/** The setting `webDownloadInside` as a set. */
export const readInside = (setting: string): Set<string> =>
  new Set(
    setting
      .split(',')
      .map((one) => one.trim())
      .filter((one) => one !== ''),
  )

/**
 * Checks what can be told from the text alone.
 * @throws WebDownloadError
 */
export function readDownloadUrl(text: string): URL {
  const url = text.length <= LONGEST_URL ? URL.parse(text) : null
  if (!url) throw new WebDownloadError('The URI is not a valid URL.')
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw new WebDownloadError('Images are downloaded by http and https only.')
  }
  if (url.username !== '' || url.password !== '') {
    throw new WebDownloadError('The URI must carry no user name or password; it is shown to others.')
  }
  return url
}

/**
 * Asks for a URL and follows where it leads.
 * @returns the answer with its bytes still to come; its length in bytes when the server says it.
 * @throws WebDownloadError; Error of the network.
 */
export async function openDownload(
  text: string,
  options: WebDownloadOptions,
): Promise<{ body: IncomingMessage; lengthBytes: number | undefined }> {
  let url = readDownloadUrl(text)
  for (let hops = 0; hops <= MOST_HOPS; hops++) {
    const answer = await ask(url, await checkedAddress(url, options), options)
    const { statusCode = 0, headers } = answer
    if (statusCode === 200) {
      const encoding = headers['content-encoding'] ?? 'identity'
      if (encoding.toLowerCase() !== 'identity') {
        answer.destroy()
        throw new WebDownloadError(
          'The server sends the image compressed on the way; only images as they are are taken.',
        )
      }
      const length = Number(headers['content-length'] ?? Number.NaN)
      return { body: answer, lengthBytes: Number.isSafeInteger(length) ? length : undefined }
    }
    answer.destroy()
    if (![301, 302, 303, 307, 308].includes(statusCode) || headers.location === undefined) {
      throw new WebDownloadError(`The server answered ${statusCode}.`)
    }
    const next = URL.parse(headers.location, url)
    if (!next) throw new WebDownloadError('The server leads to a URL that is not valid.')
    if (url.protocol === 'https:' && next.protocol === 'http:') {
      throw new WebDownloadError('The server leads from https to http.')
    }
    url = readDownloadUrl(next.href)
  }
  throw new WebDownloadError(`The server leads on more than ${MOST_HOPS} times.`)
}

const REFUSED = 'Images are downloaded from public addresses only, on port 80 or 443.'

/** The address to connect to. @throws WebDownloadError unless every address of the name may be reached. */
async function checkedAddress(url: URL, { inside }: WebDownloadOptions): Promise<string> {
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1')
  const port = portOf(url)
  const addresses = isIP(host) ? [host] : (await resolve(host)).map(({ address }) => address)
  const isAllowed = (address: string) =>
    inside.has(`${isIP(address) === 6 ? `[${address}]` : address}:${port}`) ||
    (PORTS.includes(port) && isPublicAddress(address))
  const [first] = addresses
  if (first === undefined || !addresses.every(isAllowed)) throw new WebDownloadError(REFUSED)
  return first
}

const portOf = (url: URL): number => (url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number(url.port))

async function resolve(host: string): Promise<{ address: string }[]> {
  try {
    return await lookup(host, { all: true })
  } catch (error) {
    // Which names this machine can resolve is not for users to learn.
    throw new WebDownloadError(REFUSED, { cause: error })
  }
}

function ask(url: URL, address: string, { signal }: WebDownloadOptions): Promise<IncomingMessage> {
  const isTls = url.protocol === 'https:'
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1')
  return new Promise((resolve, reject) => {
    const request = (isTls ? requestTls : requestPlain)({
      // The connection goes to the address; the name is for the certificate and the server.
      host: address,
      port: portOf(url),
      path: `${url.pathname}${url.search}`,
      headers: { host: url.host, accept: '*/*', 'accept-encoding': 'identity', 'user-agent': 'novella' },
      ...(isTls && !isIP(host) ? { servername: host } : {}),
      agent: false,
      signal,
    })
    const late = setTimeout(
      () => request.destroy(new WebDownloadError(`The server did not answer within ${ANSWER_MS / 1000} seconds.`)),
      ANSWER_MS,
    )
    request.once('response', (answer) => {
      clearTimeout(late)
      resolve(answer)
    })
    request.once('error', (error) => {
      clearTimeout(late)
      reject(error)
    })
    request.once('close', () => clearTimeout(late))
    request.end()
  })
}
