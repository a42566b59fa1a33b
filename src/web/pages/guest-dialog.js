/**
 * How the system inside a server is, as it says itself through the guest agent: a dialog, filled anew each time it opens.
 * All of it is the guest's word, and goes in as text.
 */
const at = (id) => document.getElementById(id)

const AGENT_WORDS = {
  answers: 'answers',
  silent: 'does not answer',
  none: 'none: the image says that it has no agent',
}
const ADVICE = [
  'What is known of the inside comes from the guest agent. Install the package qemu-guest-agent in the guest and start',
  'it; a guest that still boots answers a little later.',
].join(' ')
/** Clocks this close are as good as equal. */
const NEAR_MS = 1_000

/** Counts what was asked, so that a late answer about another server is not shown. */
let asked = 0

/** Opens it for a server and shows what `read` answers. @throws what `read` throws */
export async function showGuest(server, read) {
  asked += 1
  const ours = asked
  at('guest-title').textContent = `Inside ${server.name}`
  at('guest-facts').replaceChildren()
  at('guest-advice').hidden = true
  at('guest-wait').hidden = false
  const dialog = at('guest')
  if (!dialog.open) dialog.showModal()
  try {
    const diagnostics = await read()
    if (ours !== asked) return
    at('guest-wait').hidden = true
    const guest = diagnostics['novella:guest']
    at('guest-facts').replaceChildren(...factsOf(guest).flatMap(termAndText))
    at('guest-advice').textContent = ADVICE
    at('guest-advice').hidden = guest.agent === 'answers'
  } catch (error) {
    if (ours === asked) dialog.close()
    throw error
  }
}

/** What is told, each with its name; what the guest does not say is left out. */
export function factsOf(guest) {
  return [
    ['Guest agent', [AGENT_WORDS[guest.agent] ?? guest.agent, guest.version].filter(Boolean).join(', version ')],
    ['System', guest.operating_system],
    ['Host name', guest.host_name],
    ['Clock', clockOf(guest.clock_offset_ms)],
    ['File systems', guest.file_systems === 'frozen' ? 'frozen, nothing is written' : guest.file_systems && 'writable'],
    ...guest.interfaces.map(({ name, mac_address, ip_addresses }) => [
      `Card ${name}`,
      [...ip_addresses, mac_address].filter(Boolean).join('\n'),
    ]),
  ].filter(([, text]) => text)
}

function clockOf(offsetMs) {
  if (offsetMs === null) return null
  if (Math.abs(offsetMs) < NEAR_MS) return 'right'
  return `${(Math.abs(offsetMs) / 1000).toFixed(1)} s ${offsetMs < 0 ? 'behind' : 'ahead'}`
}

function termAndText([term, text]) {
  const make = (tag, content) => Object.assign(document.createElement(tag), { textContent: content })
  return [make('dt', term), make('dd', text)]
}

/** Closes it, if it is open. */
export function hideGuest() {
  asked += 1
  at('guest').close()
}
