/**
 * Loads one URL, to be run as a program, so that it shares no event loop with what it measures. The only argument is
 * JSON: `{ url, headers, connections, seconds }`. Prints `load` and JSON: `{ perSecond, requests, p50Ms, failed }`.
 */
import autocannon from 'autocannon'

const { url, headers, connections, seconds } = JSON.parse(process.argv[2] ?? '{}')
const result = await autocannon({
  url,
  headers,
  connections,
  duration: seconds,
  idReplacement: url.includes('[<id>]'),
})
const { requests, latency, errors, timeouts, non2xx } = result
const failed = errors + timeouts + non2xx
console.log(
  `load ${JSON.stringify({ perSecond: requests.total / result.duration, requests: requests.total, p50Ms: latency.p50, failed })}`,
)
