/** Nothing is done here without a question and a reason. */

import { h, replace } from '/page/dom.js';
import { inWords } from '/page/words.js';

/**
 * Ask whether something shall be done, and why.
 *
 * @param options.title what is to be done
 * @param options.effect what it leads to
 * @param options.button its name on the button
 * @param options.danger whether it cannot be taken back
 * @param options.work(why) does it
 * @returns whatever work comes to; undefined where it was not wanted
 */
export function reasoned({ title, effect, button, danger = false, work }) {
  const dialog = document.getElementById('dialog');
  return new Promise((resolve) => {
    const refusal = h('p', { class: 'refusal', role: 'alert' });
    const why = h('input', { id: 'why', name: 'why', maxlength: 500, required: true, autocomplete: 'off', 'aria-describedby': 'why-hint' });
    const submit = h('button', { type: 'submit', class: danger ? 'danger' : 'primary' }, button);
    let result;
    const made = h('form', { method: 'dialog', novalidate: true },
      h('h2', { id: 'dialog-title' }, title),
      h('p', {}, effect),
      h('div', { class: 'field' }, h('label', { for: 'why' }, 'Why'), h('p', { id: 'why-hint', class: 'hint' }, 'It goes to the log, beside your name.'), why),
      refusal,
      h('div', { class: 'actions' }, submit, h('button', { type: 'button', on: { click: () => dialog.close() } }, 'Leave it')));
    made.addEventListener('submit', async (event) => {
      event.preventDefault();
      if (submit.getAttribute('aria-disabled') === 'true') return;
      if (!why.value.trim()) {
        refusal.textContent = 'Say why.';
        why.focus();
        return;
      }
      submit.setAttribute('aria-disabled', 'true');
      refusal.textContent = '';
      try {
        result = await work(why.value.trim());
        dialog.close();
      } catch (error) {
        refusal.textContent = inWords(error);
      } finally {
        submit.removeAttribute('aria-disabled');
      }
    });
    replace(dialog, made);
    // What was asked about is not on the view to which one goes back.
    const leave = () => dialog.close();
    window.addEventListener('hashchange', leave);
    dialog.addEventListener('close', () => {
      window.removeEventListener('hashchange', leave);
      resolve(result);
    }, { once: true });
    dialog.showModal();
    why.focus();
  });
}
