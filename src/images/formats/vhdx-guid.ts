/** What ends a refusal of a VHDX that no tool would have written. */
export const VHDX_AGAIN = 'It is damaged, or made to mislead.'

/** The 16 bytes of a GUID as Microsoft's formats keep them: the first three groups little-endian. */
export function vhdxGuid(text: string): Buffer {
  const bytes = Buffer.from(text.replaceAll('-', ''), 'hex')
  return Buffer.concat([
    bytes.subarray(0, 4).reverse(),
    bytes.subarray(4, 6).reverse(),
    bytes.subarray(6, 8).reverse(),
    bytes.subarray(8),
  ])
}
