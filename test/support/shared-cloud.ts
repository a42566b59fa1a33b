import { after, before } from 'node:test'
import { type TestCloud, type TestCloudOptions, testCloud } from './test-cloud.ts'

/**
 * One cloud for all tests of the surrounding `describe`, where isolation is not the point: opening one costs half a
 * second. Call the answer inside a test.
 */
export function sharedCloud(options: TestCloudOptions): () => TestCloud {
  let cloud: TestCloud | undefined
  before(async () => {
    cloud = await testCloud(options)
  })
  after(() => cloud?.[Symbol.asyncDispose]())
  return () => {
    if (!cloud) throw new Error('The shared cloud is there in tests only, not while they are being described.')
    return cloud
  }
}
