import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { openCloud } from '../cloud.ts'
import { type Config, ConfigError, readListen } from '../config.ts'
import { bootFirstServer } from '../first-server.ts'
import type { App } from '../http/app.ts'
import { makeDataDirectory } from '../lib/data-directory.ts'
import { openLog } from '../lib/log.ts'
import { prepareSeeds, seed } from '../seed.ts'
import { newProgress, type Progress } from './progress.ts'
import { ensureSystemPackages, FOR_GUESTS } from './system-packages.ts'

/** How long an orderly end waits for answers under way, in milliseconds; then their connections are cut. */
const FAREWELL_MS = 5_000

/** Starts the cloud in the foreground; resolves when a signal ended it, whenever it came. Guests go on running. */
export async function up(config: Config): Promise<void> {
  const ended = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => ended.abort())
  const progress = newProgress()
  try {
    await run(config, progress, ended.signal)
  } catch (error) {
    if (!ended.signal.aborted || error !== ended.signal.reason) throw error
    console.error('novella: stopped before it was ready; what was not finished is done at the next start.')
  } finally {
    progress.done()
  }
}

async function run(config: Config, progress: Progress, ended: AbortSignal): Promise<void> {
  const { host, port } = readListen(config.listen)
  if (config.driver === 'qemu') await ensureSystemPackages(FOR_GUESTS, progress.step, ended)
  const log = openLog(logFile(config), config.logLevel)
  const opening = openCloud(config, { log })
  // Half of the code is about HTTP; it is read while the host waits for answers of the machine's tools.
  const loading = import('../http/app.ts')
  await using cloud = await opening
  ended.throwIfAborted()
  // Passwords are hashed and the image is looked at while the routes are made ready; what failed is told below.
  const preparing = prepareSeeds(cloud, progress.step, { signal: ended })
  preparing.catch(() => {})
  const app = await (await loading).buildApp(cloud)
  try {
    // Port 0 means any; its number is only known once it listens, and openrc needs it.
    const baseUrl = () => config.publicUrl || `http://${urlHost(host)}:${(app.server.address() as AddressInfo).port}`
    let isFirstStart: boolean
    if (port === 0) {
      await listen(app, host, port)
      isFirstStart = await seed(cloud, baseUrl(), await preparing)
    } else {
      const url = config.publicUrl || `http://${urlHost(host)}:${port}`
      isFirstStart = await seed(cloud, url, await preparing)
      await listen(app, host, port)
    }
    progress.done()
    console.log(`ready ${baseUrl()}`)
    log.info({ url: baseUrl(), data: config.data, driver: config.driver }, 'ready')
    if (isFirstStart) greet(config, baseUrl())
    if (isFirstStart && config.firstServer && config.driver === 'qemu') {
      progress.step("Booting the server 'first'")
      const outcome = await bootFirstServer(cloud, baseUrl(), ended).catch((error: unknown) => {
        log.error({ err: error }, 'the first server')
        return `the first server could not be looked at: ${error instanceof Error ? error.message : error}`
      })
      progress.done()
      console.log(outcome)
    }
    if (!ended.aborted) await new Promise((resolve) => ended.addEventListener('abort', resolve))
    log.info('stopping')
  } finally {
    progress.done()
    const impatience = setTimeout(() => app.server.closeAllConnections(), FAREWELL_MS)
    await app.close()
    clearTimeout(impatience)
  }
}

function logFile(config: Config): string {
  if (config.log !== '') return config.log
  makeDataDirectory(config.data)
  return join(config.data, 'novella.log')
}

async function listen(app: App, host: string, port: number): Promise<void> {
  try {
    await app.listen({ host, port })
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EADDRINUSE') {
      throw new ConfigError(`Port ${port} on ${host} is taken. Free it, or choose another with --listen ${host}:PORT.`)
    }
    if (code === 'EADDRNOTAVAIL' || code === 'EACCES') {
      throw new ConfigError(`Novella cannot listen on ${host}:${port} (${code}). Choose another with --listen.`)
    }
    throw error
  }
}

const urlHost = (host: string): string => (host.includes(':') ? `[${host}]` : host)

function greet(config: Config, baseUrl: string): void {
  console.log(`
In a browser:   ${baseUrl}   (user demo, password in ${join(config.data, 'openrc-demo')})
In a terminal:  . ${join(config.data, 'openrc-demo')}   (and openrc for the administrator)
`)
}
