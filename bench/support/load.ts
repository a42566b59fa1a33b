import { join } from 'node:path'
import { Child } from './child.ts'
import { readCpuMs } from './statistics.ts'

export interface LoadTarget {
  /** `[<id>]` in it is another text in each request. */
  url: string
  headers?: Record<string, string>
  /** The process that answers. */
  pid: number
}

export interface LoadResult {
  perSecond: number
  requests: number
  p50Ms: number
  /** Processor time of the answering process for one request, in milliseconds: less noisy than time on a busy machine. */
  cpuMs: number
}

/**
 * Loads a URL from a process of its own.
 * @throws Error when a single answer is no success.
 */
export async function load(target: LoadTarget, options: { connections: number; seconds: number }): Promise<LoadResult> {
  const { url, headers = {}, pid } = target
  const before = readCpuMs(pid)
  await using child = new Child([
    process.execPath,
    join(import.meta.dirname, 'load-generator.ts'),
    JSON.stringify({ url, headers, ...options }),
  ])
  const [, json = ''] = await child.awaitLine(/^load (.*)$/)
  const { failed, ...result } = JSON.parse(json)
  if (failed > 0) throw new Error(`${failed} of ${result.requests} requests to ${url} failed.`)
  return { ...result, cpuMs: (readCpuMs(pid) - before) / result.requests }
}
