/**
 * A failure the caller may read, and the one place where any failure becomes a body.
 * Source: shared/spec/faults.md, sections 1 and 7.
 */
const FAULTS = {
  badRequest: { status: 400, key: 'badRequest', title: 'Bad Request' },
  unauthorized: { status: 401, key: 'unauthorized', title: 'Unauthorized' },
  forbidden: { status: 403, key: 'forbidden', title: 'Forbidden' },
  itemNotFound: { status: 404, key: 'itemNotFound', title: 'Not Found' },
  badMethod: { status: 405, key: 'badMethod', title: 'Method Not Allowed' },
  notAcceptable: { status: 406, key: 'computeFault', title: 'Not Acceptable' },
  requestTimeout: { status: 408, key: 'computeFault', title: 'Request Timeout' },
  conflictingRequest: { status: 409, key: 'conflictingRequest', title: 'Conflict' },
  overLimit: { status: 413, key: 'overLimit', title: 'Request Entity Too Large' },
  badMediaType: { status: 415, key: 'badMediaType', title: 'Unsupported Media Type' },
  rangeNotSatisfiable: { status: 416, key: 'badRequest', title: 'Range Not Satisfiable' },
  rateLimited: { status: 429, key: 'overLimit', title: 'Too Many Requests' },
  headersTooLarge: { status: 431, key: 'computeFault', title: 'Request Header Fields Too Large' },
  computeFault: { status: 500, key: 'computeFault', title: 'Internal Server Error' },
  notImplemented: { status: 501, key: 'notImplemented', title: 'Not Implemented' },
  serviceUnavailable: { status: 503, key: 'serviceUnavailable', title: 'Service Unavailable' },
} as const

export type Fault = keyof typeof FAULTS

/** Which service's error shape an answer has. */
export type Service = 'compute' | 'identity' | 'image' | 'network'

export interface ApiErrorOptions extends ErrorOptions {
  /** Extra headers of the answer. */
  headers?: Record<string, string>
  /** The class name Neutron would give; other services ignore it. */
  type?: string
  /** Whose shape the answer has, whatever was asked: the token filter in front of all services is Keystone's. */
  service?: Service
}

/** A failure the caller may read. `message` is public; `cause` is logged with its chain, never sent. */
export class ApiError extends Error {
  override readonly name = 'ApiError'
  /** A caller's mistake does not mend itself: steps that meet one do not try again. */
  readonly isFinal = true
  readonly fault: Fault
  readonly headers: Record<string, string>
  readonly type: string | undefined
  readonly service: Service | undefined

  constructor(fault: Fault, message: string, options: ApiErrorOptions = {}) {
    super(message, options)
    this.fault = fault
    this.headers = options.headers ?? {}
    this.type = options.type
    this.service = options.service
  }

  get status(): number {
    return FAULTS[this.fault].status
  }
}

export interface FaultAnswer {
  status: number
  headers: Record<string, string>
  body: Record<string, unknown>
}

/** The answer to any failure, in the shape of the service that was asked. What is not ours to tell becomes a 500. */
export function toFault(error: unknown, service: Service): FaultAnswer {
  const known =
    error instanceof ApiError
      ? error
      : new ApiError(
          'computeFault',
          'Something failed inside Novella; its log has the details under this request id.',
          {
            cause: error,
          },
        )
  const { status, key, title } = FAULTS[known.fault]
  const { message, headers } = known
  const body: Record<Service, Record<string, unknown>> = {
    compute: { [key]: { code: status, message, ...retryAfter(known) } },
    identity: { error: { code: status, message, title } },
    image: { code: `${status} ${title}`, title, message },
    network: { NeutronError: { type: known.type ?? title.replaceAll(' ', ''), message, detail: '' } },
  }
  return { status, headers, body: body[known.service ?? service] }
}

function retryAfter(error: ApiError): { retryAfter?: string } {
  const seconds = error.headers['retry-after']
  return seconds === undefined ? {} : { retryAfter: seconds }
}

/** The service a path belongs to: whose error shape its caller understands. */
export function serviceOf(path: string): Service {
  if (/^\/(identity|v3)(\/|$|\?)|^\/v2\.0\/tokens/.test(path)) return 'identity'
  if (/^\/(image(\/|$|\?)|v2\/(images|schemas|tasks|info)(\/|$|\?))/.test(path)) return 'image'
  if (/^\/(network(\/|$|\?)|v2\.0\/)/.test(path)) return 'network'
  return 'compute'
}
