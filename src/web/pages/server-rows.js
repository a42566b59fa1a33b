import { addressesOf, ageOf, detailOf, statusWord, toneOf } from './format.js'

const RUNNING = 1
const THINGS = { novnc: 'screen', serial: 'serial console' }

/**
 * Brings the rows of the table in line with the servers. A row stays the same element while its server is there, so
 * that focus and selection survive; text goes in as text, whatever a server is called.
 */
export function showServers(body, servers, now, { onConsole, onInside }) {
  const template = document.getElementById('row').content.firstElementChild
  const rows = new Map([...body.children].map((row) => [row.dataset.id, row]))
  for (const [position, server] of servers.entries()) {
    const row = rows.get(server.id) ?? newRow(template, server.id, { onConsole, onInside })
    rows.delete(server.id)
    fill(row, server, now)
    if (body.children[position] !== row) body.insertBefore(row, body.children[position] ?? null)
  }
  for (const row of rows.values()) row.remove()
}

function newRow(template, id, { onConsole, onInside }) {
  const row = template.cloneNode(true)
  row.dataset.id = id
  const server = () => ({ id, name: row.querySelector('.server-name').textContent })
  for (const button of row.querySelectorAll('[data-console]')) {
    button.addEventListener('click', () => onConsole(server(), button.dataset.console, button))
  }
  row.querySelector('.inside').addEventListener('click', () => onInside(server()))
  return row
}

function fill(row, server, now) {
  row.dataset.tone = toneOf(server)
  write(row, '.server-name', server.name)
  write(row, '.server-id', server.id)
  write(row, '.word', statusWord(server.status))
  write(row, '.task', detailOf(server))
  write(row, '.address', addressesOf(server).join('\n') || '–')
  write(row, '.flavor', server.flavor?.name ?? '–')
  write(row, '.image', server.image?.name ?? '–')
  write(row, 'time', ageOf(Date.parse(server.created), now))
  const time = row.querySelector('time')
  time.dateTime = server.created
  time.title = new Date(server.created).toLocaleString()

  const isOn = server['OS-EXT-STS:power_state'] === RUNNING
  for (const button of row.querySelectorAll('[data-console]')) {
    const thing = THINGS[button.dataset.console]
    button.disabled = !isOn
    button.title = isOn ? `Open the ${thing} of ${server.name} in a new tab` : 'Only a running server has a console'
    button.setAttribute('aria-label', `${button.textContent} of ${server.name}`)
  }
  const inside = row.querySelector('.inside')
  inside.disabled = !isOn
  inside.title = isOn ? `How the system inside ${server.name} is` : 'Only a running server can be asked'
  inside.setAttribute('aria-label', `Inside of ${server.name}`)
}

/** Touches the page only where it changes. */
function write(row, selector, text) {
  const element = row.querySelector(selector)
  if (element.textContent !== text) element.textContent = text
}
