/** The text inside a VMDK that says which files the disk is made of. Pure. */

export interface VmdkExtent {
  access: string
  sectors: number
  type: string
  /** Empty for extents that have no file. */
  fileName: string
}

export interface VmdkDescriptor {
  /** Keys in lower case, values without quotes; a key that comes twice has both values. */
  values: Map<string, string[]>
  extents: VmdkExtent[]
  /** Lines that are neither. */
  unknown: string[]
}

const EXTENT = /^(RW|RDONLY|NOACCESS)\s+(\d{1,16})\s+([A-Z0-9]+)(?:\s+"([^"]*)"(?:\s+\d+)?)?(?:\s.*)?$/i
const VALUE = /^([A-Za-z0-9_.]+)\s*=\s*(.*)$/

/** Reads the text up to its first zero byte. Source: the Virtual Disk Format 5.0 of VMware. */
export function parseVmdkDescriptor(text: string): VmdkDescriptor {
  const descriptor: VmdkDescriptor = { values: new Map(), extents: [], unknown: [] }
  const [written = ''] = text.split('\0', 1)
  for (const raw of written.split('\n')) {
    const line = raw.trim()
    if (line === '' || line.startsWith('#')) continue
    const extent = EXTENT.exec(line)
    const value = VALUE.exec(line)
    if (extent) {
      const [, access = '', sectors = '', type = '', fileName = ''] = extent
      descriptor.extents.push({
        access: access.toUpperCase(),
        sectors: Number(sectors),
        type: type.toUpperCase(),
        fileName,
      })
    } else if (value) {
      const key = (value[1] ?? '').toLowerCase()
      const plain = (value[2] ?? '').trim().replace(/^"(.*)"$/, '$1')
      descriptor.values.set(key, [...(descriptor.values.get(key) ?? []), plain])
    } else {
      descriptor.unknown.push(line)
    }
  }
  return descriptor
}
