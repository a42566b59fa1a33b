import { Counter, Gauge, Histogram, Registry } from 'prom-client'

const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300]

/** What `/metrics` shows. Names and units follow the Prometheus conventions. */
export class Metrics {
  readonly registry = new Registry()
  readonly requests = new Histogram({
    name: 'novella_http_request_duration_seconds',
    help: 'Time to answer a request, by method, route and status.',
    labelNames: ['method', 'route', 'status'] as const,
    buckets: SECONDS,
    registers: [this.registry],
  })
  readonly steps = new Histogram({
    name: 'novella_action_step_duration_seconds',
    help: 'Time an action spent in a step, waiting included, by action, step and result.',
    labelNames: ['action', 'step', 'result'] as const,
    buckets: SECONDS,
    registers: [this.registry],
  })
  readonly logins = new Counter({
    name: 'novella_logins_total',
    help: 'Attempts to get a token, by result.',
    labelNames: ['result'] as const,
    registers: [this.registry],
  })

  /** Adds a gauge whose values are read when somebody looks. */
  gauge<Label extends string>(
    name: string,
    help: string,
    labelNames: readonly Label[],
    read: () => Promise<{ labels: Record<Label, string>; value: number }[]>,
  ): void {
    new Gauge({
      name,
      help,
      labelNames: [...labelNames],
      registers: [this.registry],
      async collect() {
        const values = await read()
        this.reset()
        for (const { labels, value } of values) this.set(labels, value)
      },
    })
  }
}
