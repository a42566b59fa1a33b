/**
 * A Novella that is going to be killed: starts one server on the state of a test's world, says so, and waits.
 * argv: the world's directory, the server's plan as JSON.
 */
import { QemuWorld } from './qemu-world.ts'

const [directory = '', plan = ''] = process.argv.slice(2)
const driver = QemuWorld.driverOn(directory)
await driver.start()
process.stdout.write(`${await driver.ensureOn(JSON.parse(plan))}\n`)
setInterval(() => {}, 60_000)
