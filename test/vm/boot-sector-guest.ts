/** What the guest writes to its serial port when it is up. */
export const BOOT_SECTOR_CONSOLE = 'line 1\r\nline 2\r\nline 3\r\n\x1b[1mready\x1b[0m> '

/** Keys the guest obeys on its serial port. */
export const POWER_OFF_KEY = 'q'
export const PRINT_KEY = 'p'
export const RESET_KEY = 'r'
/** Writes a sector of the first disk, and prints when that is done. */
export const WRITE_KEY = 'w'

/** Where the firmware of q35 puts the ACPI power management registers. Source: SeaBIOS, PORT_ACPI_PM_BASE. */
const PM = 0x600
const UART = 0x3f8

/**
 * A whole guest in one sector, up half a second after the start: it greets on the serial port, and shuts itself down
 * through ACPI when its power button is pressed or when it is told to. Between ticks of the clock it sleeps.
 */
export function bootSectorGuest(): Buffer {
  const code = new Assembler()
  code.bytes(0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0) //  xor ax, ax; mov ds, ax; mov es, ax
  code.outWord(PM + 2, 0x0100) //                    enable the power button
  code.label('print').bytes(0xbe).address('text') // mov si, text
  code.label('next').bytes(0xac, 0x84, 0xc0) //      lodsb; test al, al
  code.jump(0x74, 'wait') //                         jz wait
  code.bytes(0xba).word(UART).bytes(0xee) //         mov dx, UART; out dx, al
  code.jump(0xeb, 'next') //                         jmp next
  code.label('wait').bytes(0xfb, 0xf4) //            sti; hlt
  code.bytes(0xba).word(PM).bytes(0xed) //           mov dx, PM; in ax, dx
  code.bytes(0xf6, 0xc4, 0x01).jump(0x75, 'off') //  test ah, 1; jnz off
  code
    .bytes(0xba)
    .word(UART + 5)
    .bytes(0xec) //     mov dx, UART + 5; in al, dx
  code.bytes(0xa8, 0x01).jump(0x74, 'wait') //       test al, 1; jz wait
  code.bytes(0xba).word(UART).bytes(0xec) //         mov dx, UART; in al, dx
  code.key(PRINT_KEY, 'print').key(RESET_KEY, 'reset').key(POWER_OFF_KEY, 'off').key(WRITE_KEY, 'write')
  code.jump(0xeb, 'wait')
  code.label('off').outWord(PM + 4, 0x2000) //       sleep state 5: off
  code.jump(0xeb, 'wait')
  code.label('reset').bytes(0xb0, 0x06, 0xba).word(0xcf9).bytes(0xee) // mov al, 6; mov dx, 0xcf9; out dx, al
  code.jump(0xeb, 'wait')
  code.label('write').bytes(0xb8).word(0x0301).bytes(0xbb).word(0x7c00) // mov ax, 0x301; mov bx, 0x7c00
  code.bytes(0xb9).word(2).bytes(0xba).word(0x80).bytes(0xcd, 0x13) //     mov cx, 2; mov dx, 0x80; int 0x13
  code.jump(0xeb, 'print')
  code.label('text').bytes(...Buffer.from(`${BOOT_SECTOR_CONSOLE}\0`))
  return code.sector()
}

/** As much of an assembler as one sector needs. Code starts at 0x7c00. */
class Assembler {
  readonly #bytes: number[] = []
  readonly #labels = new Map<string, number>()
  readonly #patches: { at: number; label: string; size: 1 | 2 }[] = []

  bytes(...values: number[]): this {
    this.#bytes.push(...values)
    return this
  }
  word(value: number): this {
    return this.bytes(value & 0xff, value >> 8)
  }
  label(name: string): this {
    this.#labels.set(name, this.#bytes.length)
    return this
  }
  address(label: string): this {
    this.#patches.push({ at: this.#bytes.length, label, size: 2 })
    return this.bytes(0, 0)
  }
  jump(opcode: number, label: string): this {
    this.bytes(opcode)
    this.#patches.push({ at: this.#bytes.length, label, size: 1 })
    return this.bytes(0)
  }
  /** cmp al, key; je label */
  key(key: string, label: string): this {
    return this.bytes(0x3c, key.charCodeAt(0)).jump(0x74, label)
  }
  /** mov dx, port; mov ax, value; out dx, ax */
  outWord(port: number, value: number): this {
    return this.bytes(0xba).word(port).bytes(0xb8).word(value).bytes(0xef)
  }
  sector(): Buffer {
    const sector = Buffer.alloc(512)
    sector.set(this.#bytes)
    for (const { at, label, size } of this.#patches) {
      const target = this.#labels.get(label) ?? 0
      if (size === 1) sector.writeInt8(target - (at + 1), at)
      else sector.writeUInt16LE(0x7c00 + target, at)
    }
    sector.writeUInt16LE(0xaa55, 510)
    return sector
  }
}
