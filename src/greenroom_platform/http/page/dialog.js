/** A question that is answered before anything else is done. */

import { h } from './dom.js';

let number = 0;

/**
 * Ask; resolves with the name of what was chosen, and with null when the question was closed.
 *
 * @param content elements below the title
 * @param choices [{name, text, kind}]: the first has the focus, unless there is a field
 */
export function question(title, content, choices, cancel = 'Cancel') {
  number += 1;
  const id = `question-${number}`;
  return new Promise((resolve) => {
    const buttons = choices.map(({ name, text, kind = '' }) => h('button', { type: 'button', class: kind, on: { click: () => box.close(name) } }, text));
    const box = h(
      'dialog',
      { 'aria-labelledby': id },
      h('h2', { id }, title),
      content,
      h('p', { class: 'actions' }, buttons, h('button', { type: 'button', on: { click: () => box.close('') } }, cancel)),
    );
    box.addEventListener('close', () => {
      box.remove();
      resolve(box.returnValue || null);
    });
    // Beside the question, not in it.
    box.addEventListener('click', (event) => { if (event.target === box) box.close(''); });
    window.addEventListener('hashchange', () => box.close(''), { once: true });
    document.body.append(box);
    box.showModal();
    (box.querySelector('input') || buttons[0]).focus();
  });
}
