import { equal, throws } from 'node:assert/strict'
import { describe, it } from 'node:test'
import { readVolumeVersion } from './volume-version.ts'

describe('readVolumeVersion', () => {
  const taken: [string | undefined, number][] = [
    [undefined, 0],
    ['', 0],
    ['volume 3.0', 0],
    ['volume 3.71', 71],
    ['Volume  3.9', 9],
    ['compute 2.90, volume 3.12', 12],
    ['compute 2.90', 0],
    ['block-storage 3.70', 0],
    ['volume latest', 71],
  ]
  for (const [header, minor] of taken) it(`takes ${header}`, () => equal(readVolumeVersion(header), minor))

  const refused: [string, string][] = [
    ['volume 3.72', 'notAcceptable'],
    ['volume 2.0', 'notAcceptable'],
    ['volume 4.0', 'notAcceptable'],
    ['volume 3', 'badRequest'],
    ['volume 3.01', 'badRequest'],
    ['volume three', 'badRequest'],
    ['volume 3.-1', 'badRequest'],
  ]
  for (const [header, fault] of refused) {
    it(`refuses ${header}`, () => throws(() => readVolumeVersion(header), { fault }))
  }
})
