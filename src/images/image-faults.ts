import type { App } from '../http/app.ts'

/**
 * Glance has no error envelope of its own: who does not ask for JSON gets a page that a person can read. Turns the
 * bodies of refused requests of this scope into one. Source: shared/spec/faults.md, section 7.
 */
export function answerFaultsAsPages(app: App): void {
  app.addHook('onSend', async (request, reply, payload) => {
    if (reply.statusCode < 400 || typeof payload !== 'string' || prefersJson(request.headers.accept)) return payload
    const { code, message } = readFault(payload)
    if (code === undefined) return payload
    const page = faultPage(code, message ?? '')
    // The length was that of the JSON.
    reply.header('content-type', 'text/html; charset=UTF-8').header('content-length', Buffer.byteLength(page))
    return page
  })
}

function readFault(payload: string): { code?: string; message?: string } {
  const { code, message } = JSON.parse(payload) as Record<string, unknown>
  return typeof code === 'string' && typeof message === 'string' ? { code, message } : {}
}

/**
 * Whether an `Accept` header asks for JSON rather than a page. Whoever names neither, or takes anything, gets the
 * page. Source: RFC 9110, section 12.5.1.
 */
export function prefersJson(accept: string | undefined): boolean {
  const ranges = (accept ?? '*/*').split(',').map((range) => {
    const [type = '', ...parameters] = range.split(';').map((part) => part.trim().toLowerCase())
    const weight = parameters.map((one) => /^q=([01](?:\.\d{0,3})?)$/.exec(one)?.[1]).find((q) => q !== undefined)
    return { type, weight: Number(weight ?? 1) }
  })
  // The most precise range that fits decides.
  const weightOf = (type: string) => {
    const fitting = [type, `${type.split('/', 1)[0]}/*`, '*/*']
    const chosen = fitting.map((name) => ranges.find((range) => range.type === name)).find((range) => range)
    return chosen?.weight ?? 0
  }
  return weightOf('application/json') > weightOf('text/html')
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}
const escapeHtml = (text: string): string => text.replace(/[&<>"']/g, (character) => ENTITIES[character] ?? '')

/** @param code for example `404 Not Found`. */
export function faultPage(code: string, message: string): string {
  const title = escapeHtml(code)
  const lines = [
    '<!DOCTYPE html>',
    `<html lang="en"><head><title>${title}</title></head>`,
    `<body><h1>${title}</h1><p>${escapeHtml(message)}</p></body></html>`,
  ]
  return `${lines.join('\n')}\n`
}
