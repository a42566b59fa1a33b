/**
 * xterm writes its colours and sizes into <style> elements, which the policy of our pages refuses: it takes styles from
 * our own files only. What a script builds as a style sheet is not refused, so the elements that xterm asks for hold the
 * text, and a sheet each does the work.
 */
export function adoptStyles() {
  const createElement = document.createElement.bind(document)
  document.createElement = (name, options) => {
    if (name !== 'style') return createElement(name, options)
    const holder = createElement('template')
    const sheet = new CSSStyleSheet()
    document.adoptedStyleSheets.push(sheet)
    // The text of a template is not in its content, and is rendered nowhere.
    new MutationObserver(() => sheet.replaceSync(holder.textContent)).observe(holder, {
      childList: true,
      characterData: true,
      subtree: true,
    })
    return holder
  }
}
