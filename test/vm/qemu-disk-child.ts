/**
 * A Novella that is killed in the middle of a verb: starts a driver on the state of a test's world, calls the verb, and
 * kills itself after a while, or when it is done.
 * argv: the world's directory, the verb's name, its arguments as JSON, milliseconds.
 */
import type { VolumeHost } from '../../src/host/volume-host.ts'
import { QemuWorld } from './qemu-world.ts'

const [directory = '', verb = '', args = '[]', afterMs = '0'] = process.argv.slice(2)
const driver = QemuWorld.driverOn(directory)
await driver.start()
setTimeout(() => process.kill(process.pid, 'SIGKILL'), Number(afterMs))
const call = driver[verb as keyof VolumeHost] as (...given: unknown[]) => Promise<unknown>
await call.apply(driver, JSON.parse(args)).catch(() => {})
process.kill(process.pid, 'SIGKILL')
