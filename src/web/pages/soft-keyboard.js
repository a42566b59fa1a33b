/** The keyboard of a telephone, which types only into fields. */

/**
 * Sends what is typed into a text field on to the server. The field always holds one space, so that there is
 * something for Backspace to take away.
 */
export function listenToField(field, type) {
  const reset = () => {
    field.value = ' '
    field.setSelectionRange(1, 1)
  }
  field.addEventListener('focus', reset)
  field.addEventListener('input', (event) => {
    // A word that is still being put together comes again when it is finished.
    if (event.isComposing) return
    const typed = field.value
    type(typed === '' ? '\b' : typed.slice(1))
    reset()
  })
  field.addEventListener('compositionend', () => {
    type(field.value.slice(1))
    reset()
  })
}
