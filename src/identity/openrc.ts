/** Who logs in where: what the openrc files and clouds.yaml say. */
export interface ClientAccess {
  /** Scheme and host, without a slash at the end. */
  base: string
  region: string
  userName: string
  password: string
  projectName: string
}

const DOMAIN = 'Default'

/** A shell script to be sourced: the `OS_…` variables that every OpenStack client reads. */
export function openrc({ base, region, userName, password, projectName }: ClientAccess): string {
  const variables = {
    OS_AUTH_URL: `${base}/identity`,
    OS_USERNAME: userName,
    OS_PASSWORD: password,
    OS_PROJECT_NAME: projectName,
    OS_USER_DOMAIN_NAME: DOMAIN,
    OS_PROJECT_DOMAIN_NAME: DOMAIN,
    OS_REGION_NAME: region,
    OS_IDENTITY_API_VERSION: '3',
    OS_INTERFACE: 'public',
  }
  const lines = Object.entries(variables).map(([name, value]) => `export ${name}=${shellQuote(value)}\n`)
  return `# Access to this Novella as ${shellQuote(userName).replaceAll('\n', ' ')}. Use: . THIS_FILE\n${lines.join('')}`
}

/**
 * A clouds.yaml for openstackclient, SDK, Ansible and Terraform.
 * @param clouds access by the name of the cloud, which is what `--os-cloud` takes.
 */
export function cloudsYaml(clouds: Record<string, ClientAccess>): string {
  const entries = Object.entries(clouds).map(
    ([name, { base, region, userName, password, projectName }]) => `  ${yamlQuote(name)}:
    auth_type: password
    auth:
      auth_url: ${yamlQuote(`${base}/identity`)}
      username: ${yamlQuote(userName)}
      password: ${yamlQuote(password)}
      project_name: ${yamlQuote(projectName)}
      user_domain_name: ${yamlQuote(DOMAIN)}
      project_domain_name: ${yamlQuote(DOMAIN)}
    region_name: ${yamlQuote(region)}
    interface: public
    identity_api_version: "3"
    volume_api_version: "3"
`,
  )
  return `clouds:\n${entries.join('')}`
}

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
