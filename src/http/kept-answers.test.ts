import { equal } from 'node:assert/strict'
import { describe, it } from 'node:test'
import { KeptAnswers } from './kept-answers.ts'

describe('KeptAnswers', () => {
  const counted = () => {
    let made = 0
    return async () => `answer ${++made}`
  }

  it('answers again with what it made, until the database changes', async () => {
    let version = 1
    const kept = new KeptAnswers({ version: () => version })
    const make = counted()
    equal(await kept.get('a', make), 'answer 1')
    equal(await kept.get('a', make), 'answer 1')
    equal(await kept.get('b', make), 'answer 2')
    version++
    equal(await kept.get('a', make), 'answer 3')
  })

  it('does not keep an answer during which the database changed', async () => {
    let version = 1
    const kept = new KeptAnswers({ version: () => version })
    const make = counted()
    await kept.get('a', async () => {
      version++
      return make()
    })
    equal(await kept.get('a', make), 'answer 2')
  })

  it('does not keep an answer that ends after a newer one began', async () => {
    let version = 1
    const kept = new KeptAnswers({ version: () => version })
    const { promise, resolve } = Promise.withResolvers<string>()
    const slow = kept.get('a', () => promise)
    version = 2
    equal(await kept.get('a', async () => 'new'), 'new')
    resolve('old')
    equal(await slow, 'old')
    equal(await kept.get('a', async () => 'newer'), 'new')
  })

  it('keeps nothing of a database that others write to', async () => {
    const kept = new KeptAnswers({ version: () => undefined })
    const make = counted()
    await kept.get('a', make)
    equal(await kept.get('a', make), 'answer 2')
  })

  it('keeps no more than it may', async () => {
    const kept = new KeptAnswers({ version: () => 1 })
    const large = 'x'.repeat(1_500_000)
    await kept.get('a', async () => large)
    await kept.get('b', async () => large)
    equal(await kept.get('a', async () => 'made anew'), 'made anew')
  })
})
