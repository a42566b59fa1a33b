/** Public keys by the names that tests import them under; their private halves are nowhere. */
export const KEYS = {
  one: 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAYlTUV0fbnAZdv3dkd/7xLscZdH8aMx/Wu1gt8ifWDV one@example',
  two: 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOBF4BC2P3CtVOvQAEw4YizWAdHmTYnPX0ls7iX3ShpD two@example',
  three: 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICkSxQ+hgOyr68nio8yqaBN/aT6f8muAGck5fCMAw87M three@example',
} as const
