/** The values of `disk_format` that are taken. Apart from their readers, which are loaded with the first upload. */
export const INSPECTED_FORMATS = ['raw', 'qcow2', 'vmdk', 'vdi', 'vhd', 'vhdx', 'iso', 'ami', 'aki', 'ari'] as const
