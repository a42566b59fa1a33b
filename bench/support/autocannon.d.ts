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
    /** Puts another text for each request where the URL says `[<id>]`. */
    idReplacement?: boolean
    connections: number
    /** Seconds. */
    duration: number
  }): Promise<Result>
}
