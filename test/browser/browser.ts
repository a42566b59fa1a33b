import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Browser, type BrowserContext, type BrowserContextOptions, chromium, type Page } from 'playwright-core'

/** Debian's Chromium, headless; it reaches 127.0.0.1 and nothing else. */
const EXECUTABLE = '/usr/bin/chromium'
const ARGUMENTS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1',
]

/** A browser for one test, with what its pages complained about. */
export class TestBrowser implements AsyncDisposable {
  readonly #browser: Browser
  readonly context: BrowserContext
  /** Errors and policy violations of all pages, in the order they came. */
  readonly complaints: string[] = []
  /** Hosts that any page asked for something. */
  readonly hosts = new Set<string>()
  readonly #directory = mkdtempSync(join(tmpdir(), 'novella-browser-'))

  private constructor(browser: Browser, context: BrowserContext) {
    this.#browser = browser
    this.context = context
    context.on('weberror', (error) => this.complaints.push(String(error.error())))
    context.on('console', (message) => {
      if (message.type() === 'error') this.complaints.push(message.text())
    })
    context.on('request', (request) => this.hosts.add(new URL(request.url()).host))
  }

  static async open(options: BrowserContextOptions = {}): Promise<TestBrowser> {
    const browser = await chromium.launch({ executablePath: EXECUTABLE, args: ARGUMENTS })
    return new TestBrowser(browser, await browser.newContext(options))
  }

  /** Takes a picture into a directory that goes away with the browser; answers its bytes. */
  picture(page: Page, name: string): Promise<Buffer> {
    return page.screenshot({ path: join(process.env.NOVELLA_PICTURES ?? this.#directory, `${name}.png`) })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#browser.close()
    rmSync(this.#directory, { recursive: true, force: true })
  }
}
