import { join } from 'node:path'
import type { Logger } from 'pino'
import { Runner } from './actions/runner.ts'
import type { Config } from './config.ts'
import { type Database, openDatabase } from './db/database.ts'
import type { HostDriver, MetadataQuestion } from './host/host-driver.ts'
import { openHost } from './host/open-host.ts'
import { registerHost } from './hosts/host-store.ts'
import { addGauges } from './http/gauges.ts'
import { KeptAnswers } from './http/kept-answers.ts'
import { Metrics } from './http/metrics.ts'
import { LoginGate } from './identity/login-gate.ts'
import { TokenStore } from './identity/token-store.ts'
import { type ImageActions, imageActions } from './images/image-actions.ts'
import { ImageUploads } from './images/image-uploads.ts'
import { recoverUploads } from './images/recover-uploads.ts'
import { type Clock, systemClock } from './lib/clock.ts'
import { keepHostName, lockDataDirectory } from './lib/data-directory.ts'
import { SecretBox } from './lib/secret-box.ts'
import { NetworkChanges } from './networks/network-changes.ts'
import { type ServerActions, serverActions } from './servers/server-actions.ts'
import { resumeServers, sweepServers } from './servers/sync-servers.ts'
import { sweepUntoldKeys } from './servers/untold-keys.ts'
import { type VolumeActions, volumeActions } from './volumes/volume-actions.ts'

/** All that has a lifetime, built and disposed here and only here. */
export interface Cloud extends AsyncDisposable {
  readonly config: Config
  readonly log: Logger
  readonly clock: Clock
  readonly db: Database
  readonly box: SecretBox
  readonly tokens: TokenStore
  readonly logins: LoginGate
  readonly metrics: Metrics
  readonly keptAnswers: KeptAnswers
  /** The hosts this process reaches, by name. */
  readonly hosts: ReadonlyMap<string, HostDriver>
  /** Makes hosts follow what is written to networks, ports, groups and routers. */
  readonly networkChanges: NetworkChanges
  /** Images that arrive right now. */
  readonly imageUploads: ImageUploads
  /** The durable actions, for those who accept them. */
  readonly actions: ServerActions & VolumeActions & ImageActions
  readonly runner: Runner
}

export interface CloudParts {
  log: Logger
  clock?: Clock
  /** Instead of the host that the configuration asks for. */
  host?: HostDriver
  /** Opens everything and starts nothing: no action goes on, nothing is swept. */
  isIdle?: boolean
}

/**
 * Opens everything: data directory, database, host, and the runner, which at once goes on with what an earlier process
 * left open. On failure whatever was opened is closed again.
 * @throws DataDirectoryError, NewerDatabaseError, HostError: each with a message that says what to do.
 */
export async function openCloud(given: Config, parts: CloudParts): Promise<Cloud> {
  await using stack = new AsyncDisposableStack()
  const { log, clock = systemClock } = parts
  stack.use(lockDataDirectory(given.data))
  const config = { ...given, hostName: keepHostName(given.data, given.hostName) }
  const db = stack.use(await openDatabase(config.database || join(config.data, 'novella.db')))
  const box = SecretBox.fromFile(join(config.data, 'secret.key'))
  const metrics = new Metrics()
  const keptAnswers = new KeptAnswers(db)
  const base = { config, log, clock, db, box, metrics, keptAnswers, tokens: new TokenStore(), logins: new LoginGate() }

  // Loaded with the first question: a start has no use for it.
  const answerMetadata = async (question: MetadataQuestion) =>
    (await import('./metadata/answer-metadata.ts')).answerMetadata(base, question)
  const host = stack.use(parts.host ?? (await openHost({ config, clock, log, answerMetadata })))
  await host.start()
  const hosts = new Map([[host.hostName, host]])
  const { bootId } = await host.readFacts()
  const earlierBootId = await registerHost(db, host, config.availabilityZone, clock.now())

  const networkChanges = stack.use(new NetworkChanges({ db, clock, log, hosts }))
  const imageUploads = stack.use(new ImageUploads())
  const actionParts = { ...base, hosts, networkChanges, imageUploads }
  const actions = { ...serverActions(actionParts), ...volumeActions(actionParts), ...imageActions(actionParts) }
  const runner = stack.use(
    new Runner({
      db,
      clock,
      log,
      actions: Object.values(actions),
      onStep: (action, step, result, durationMs) => metrics.steps.observe({ action, step, result }, durationMs / 1000),
    }),
  )
  const cloud: Omit<Cloud, typeof Symbol.asyncDispose> = {
    ...base,
    hosts,
    networkChanges,
    imageUploads,
    actions,
    runner,
  }
  addGauges(cloud)
  if (!parts.isIdle) {
    await recoverUploads(cloud)
    if (config.resumeGuests && earlierBootId !== undefined && earlierBootId !== bootId) {
      await resumeServers(cloud, host.hostName)
    }
    networkChanges.start()
    stack.use(sweepServers(cloud))
    stack.use(sweepUntoldKeys(cloud))
    await runner.start()
  }
  const opened = stack.move()
  return { ...cloud, [Symbol.asyncDispose]: () => opened.disposeAsync() }
}
