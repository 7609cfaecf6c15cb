/** A question that must be answered before anything happens. */

import { h, replace } from '/page/dom.js';
import { inWords } from '/page/words.js';

/**
 * Ask, and act where the answer is yes; resolves with whether it was done.
 *
 * @param act async; what it throws is told in the question, which stays open
 * @param refused may put an error into other words: elements, or null for the usual ones; it is given what closes the question
 */
export function question({ title, text, yes, act, refused = () => null }) {
  return new Promise((resolve) => {
    let done = false;
    const trouble = h('div', { class: 'refusal', role: 'alert' });
    const confirm = h('button', { type: 'button', class: 'button danger' }, yes);
    const cancel = h('button', { type: 'button', autofocus: true, on: { click: () => dialog.close() } }, 'Cancel');
    const dialog = h(
      'dialog',
      { class: 'question', 'aria-labelledby': 'question-title' },
      h('h2', { id: 'question-title' }, title),
      h('p', {}, text),
      trouble,
      h('p', { class: 'actions' }, confirm, cancel),
    );
    confirm.addEventListener('click', async () => {
      if (confirm.getAttribute('aria-disabled') === 'true') return;
      confirm.setAttribute('aria-disabled', 'true');
      replace(trouble);
      try {
        await act();
        done = true;
        dialog.close();
      } catch (error) {
        replace(trouble, refused(error, () => dialog.close()) ?? h('p', {}, inWords(error)));
      } finally {
        confirm.removeAttribute('aria-disabled');
      }
    });
    const leave = () => dialog.close();
    window.addEventListener('hashchange', leave);
    dialog.addEventListener('close', () => {
      window.removeEventListener('hashchange', leave);
      dialog.remove();
      resolve(done);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
