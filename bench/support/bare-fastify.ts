/**
 * The floor of HTTP figures, to be run as a program: a Fastify without anything of ours.
 *
 *   GET /    answers the bytes of the file that the first argument names
 *   POST /   parses a JSON body, writes it as one row into SQLite, durably as we do, and answers 202
 *
 * Says `ready URL` when it listens.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import fastify from 'fastify'

const [directory = ''] = process.argv.slice(2)
const bytes = readFileSync(join(directory, 'answer.json'))
const db = new DatabaseSync(join(directory, 'bare.db'))
db.exec('pragma journal_mode = wal; pragma synchronous = full; create table rows (body text not null)')
const insert = db.prepare('insert into rows values (?)')

const app = fastify()
app.get('/', (_request, reply) => reply.type('application/json; charset=utf-8').send(bytes))
app.post('/', (request, reply) => {
  insert.run(JSON.stringify(request.body))
  return reply.code(202).send({ id: 'one' })
})
process.once('SIGTERM', async () => {
  await app.close()
  db.close()
})
console.log(`ready ${await app.listen({ host: '127.0.0.1', port: 0 })}`)
