/** Routes that an owner gives a router, besides those it has by its interfaces. Pure but for the errors it throws. */
import type { Route } from '../host/host-driver.ts'
import { contains, formatAddress, formatNetwork, parseAddress, parseNetwork } from '../lib/ip.ts'
import { networkError } from '../network-api/network-errors.ts'

/** Addresses of a router's ends with the subnets they are on. */
export interface EndAddress {
  ipAddress: string
  cidr: string
}

/** Neutron's own limit. */
const MOST = 30

/**
 * Routes in the form they are stored and compared in, each once.
 * @throws ApiError InvalidRoutes for what is no route, or names one twice; RoutesExhausted.
 */
export function readRoutes(given: readonly Route[]): Route[] {
  if (given.length > MOST) throw networkError('RoutesExhausted', `A router has at most ${MOST} extra routes.`)
  const routes = given.map(readRoute)
  if (new Set(routes.map(keyOf)).size < routes.length) throw invalid('A route is named twice.')
  return routes
}

/** Routes with others added; those that are there already stay. @throws ApiError as `readRoutes`. */
export function addRoutes(before: readonly Route[], given: readonly Route[]): Route[] {
  const known = new Set(before.map(keyOf))
  return readRoutes([...before, ...readRoutes(given).filter((route) => !known.has(keyOf(route)))])
}

/** Routes without some; those that are not there are no mistake. @throws ApiError as `readRoutes`. */
export function removeRoutes(before: readonly Route[], given: readonly Route[]): Route[] {
  const gone = new Set(readRoutes(given).map(keyOf))
  return before.filter((route) => !gone.has(keyOf(route)))
}

/** The first route whose next hop is on no subnet of these ends. */
export const findUnreachable = (routes: readonly Route[], ends: readonly EndAddress[]): Route | undefined =>
  routes.find(({ nexthop }) => !ends.some(({ cidr }) => contains(parseNetwork(cidr), parseAddress(nexthop))))

/**
 * Checks that each next hop is somebody else on a subnet the router is on.
 * @throws ApiError InvalidRoutes.
 */
export function assertReachable(routes: readonly Route[], ends: readonly EndAddress[]): void {
  const lost = findUnreachable(routes, ends)
  if (lost) throw invalid(`The next hop ${lost.nexthop} is on no subnet that the router is connected with.`)
  const own = routes.find(({ nexthop }) => ends.some(({ ipAddress }) => ipAddress === nexthop))
  if (own) throw invalid(`The next hop ${own.nexthop} is the router itself.`)
}

function readRoute({ destination, nexthop }: Route): Route {
  const network = attempt(() => parseNetwork(destination))
  const hop = attempt(() => parseAddress(nexthop))
  if (!network || !hop) throw invalid(`'${destination}' via '${nexthop}' is no route: a network and an address are.`)
  const [address = ''] = destination.split('/')
  if (parseAddress(address).value !== network.first) {
    throw invalid(`'${destination}' is no network; ${formatNetwork(network)} is.`)
  }
  if (network.version !== hop.version)
    throw invalid(`'${destination}' and '${nexthop}' are of different versions of IP.`)
  return { destination: formatNetwork(network), nexthop: formatAddress(hop) }
}

const keyOf = ({ destination, nexthop }: Route): string => `${destination} ${nexthop}`

const invalid = (message: string) => networkError('InvalidRoutes', message)

function attempt<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch {
    return undefined
  }
}
