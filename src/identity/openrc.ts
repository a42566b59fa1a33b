/** What the openrc files and clouds.yaml say: where the cloud is, and the passwords of its first two users. */
export interface ClientAccess {
  /** Scheme and host, without a slash at the end. */
  baseUrl: string
  region: string
  adminPassword: string
  demoPassword: string
}

/** The users of a fresh cloud. Each has a project of its own name. */
export type FirstUser = 'admin' | 'demo'

const DOMAIN = 'Default'

/** A shell script to be sourced: the `OS_…` variables that every OpenStack client reads. */
export function openrc(access: ClientAccess & { user: FirstUser }): string {
  const { baseUrl, region, user } = access
  const variables = {
    OS_AUTH_URL: `${baseUrl}/identity`,
    OS_USERNAME: user,
    OS_PASSWORD: passwordOf(access, user),
    OS_PROJECT_NAME: user,
    OS_USER_DOMAIN_NAME: DOMAIN,
    OS_PROJECT_DOMAIN_NAME: DOMAIN,
    OS_REGION_NAME: region,
    OS_IDENTITY_API_VERSION: '3',
    OS_INTERFACE: 'public',
  }
  const lines = Object.entries(variables).map(([name, value]) => `export ${name}=${shellQuote(value)}\n`)
  return `# Access to this Novella as user ${user}. Use it so: . ./openrc\n${lines.join('')}`
}

/** A clouds.yaml for openstackclient, SDK, Ansible and Terraform, with the clouds `admin` and `demo`. */
export function cloudsYaml(access: ClientAccess): string {
  const cloud = (user: FirstUser) => `  ${user}:
    auth_type: password
    auth:
      auth_url: ${yamlQuote(`${access.baseUrl}/identity`)}
      username: ${user}
      password: ${yamlQuote(passwordOf(access, user))}
      project_name: ${user}
      user_domain_name: ${DOMAIN}
      project_domain_name: ${DOMAIN}
    region_name: ${yamlQuote(access.region)}
    interface: public
    identity_api_version: "3"
    volume_api_version: "3"
`
  return `# OS_CLIENT_CONFIG_FILE=THIS_FILE openstack --os-cloud demo server list\nclouds:\n${cloud('admin')}${cloud('demo')}`
}

const passwordOf = ({ adminPassword, demoPassword }: ClientAccess, user: FirstUser): string =>
  user === 'admin' ? adminPassword : demoPassword

/** In single quotes nothing has a meaning but the single quote. */
const shellQuote = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`

/** A double-quoted scalar of printable ASCII, which every YAML version reads alike. */
function yamlQuote(text: string): string {
  const escaped = text.replace(/["\\]|[^\x20-\x7e]/gu, (character) =>
    character === '"' || character === '\\'
      ? `\\${character}`
      : `\\U${(character.codePointAt(0) ?? 0).toString(16).padStart(8, '0')}`,
  )
  return `"${escaped}"`
}
