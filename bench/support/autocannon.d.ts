/** What the benches use of autocannon, which brings no types. Source: its README. */
declare module 'autocannon' {
  interface Result {
    /** Seconds that it took. */
    duration: number
    requests: { total: number }
    /** Milliseconds. */
    latency: { p50: number }
    errors: number
    timeouts: number
    non2xx: number
  }
  export default function autocannon(options: {
    url: string
    headers?: Record<string, string>
    connections: number
    /** Seconds. */
    duration: number
  }): Promise<Result>
}
