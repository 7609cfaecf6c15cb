/** Forms whose refusals stand beside what they are about. */

import { Problem } from './api.js';
import { h } from './dom.js';
import { inWords, sentence } from './words.js';

/**
 * A form that is sent by `send(values)`.
 *
 * @param fields [{name, label, hint, type, autocomplete, minlength, maxlength}]
 */
export function form({ id, title, button, kind = 'primary', fields, send }) {
  const whole = h('p', { class: 'refusal', role: 'alert' });
  const parts = new Map(fields.map((field) => [field.name, part(id, field)]));
  const submit = h('button', { type: 'submit', class: kind }, button);
  // Never sent by the browser itself, and not as an address if ever it were.
  const made = h('form', { method: 'post', novalidate: true, 'aria-labelledby': `${id}-title` },
    h('h2', { id: `${id}-title` }, title), [...parts.values()].map(({ row }) => row), whole, submit);
  // What one form was refused says nothing about another one that is sent later.
  made.addEventListener('calm', () => {
    whole.textContent = '';
    for (const { refuse } of parts.values()) refuse('');
  });
  made.addEventListener('input', () => { whole.textContent = ''; });
  made.addEventListener('submit', async (event) => {
    event.preventDefault();
    if (submit.getAttribute('aria-disabled') === 'true') return;
    for (const one of document.forms) one.dispatchEvent(new Event('calm'));
    const missing = [...parts.values()].filter((one) => one.check());
    if (missing.length) {
      missing[0].input.focus();
      return;
    }
    submit.setAttribute('aria-disabled', 'true');
    try {
      await send(Object.fromEntries([...parts].map(([name, { input }]) => [name, input.value])));
    } catch (error) {
      complain(error, parts, whole);
    } finally {
      submit.removeAttribute('aria-disabled');
    }
  });
  return made;
}

function complain(error, parts, whole) {
  const named = error instanceof Problem ? error.errors.filter(({ field }) => parts.has(field)) : [];
  for (const { field, reason, remedy } of named) {
    const { label, refuse } = parts.get(field);
    refuse(`${sentence(`${label} ${reason}`)} ${sentence(remedy)}`);
  }
  if (named.length) parts.get(named[0].field).input.focus();
  else whole.textContent = inWords(error);
}

function part(form, { name, label, hint, type = 'text', autocomplete, minlength, maxlength }) {
  const id = `${form}-${name}`;
  const input = h('input', {
    id, name, type, autocomplete, maxlength, required: true, autocapitalize: 'none', spellcheck: 'false', 'aria-describedby': `${id}-hint ${id}-refusal`,
  });
  const refusal = h('p', { id: `${id}-refusal`, class: 'refusal' });
  const refuse = (text) => {
    refusal.textContent = text;
    if (text) input.setAttribute('aria-invalid', 'true');
    else input.removeAttribute('aria-invalid');
  };
  input.addEventListener('input', () => refuse(''));
  const check = () => {
    if (!input.value) refuse(`${label} is missing.`);
    else if (minlength && input.value.length < minlength) refuse(`${label} needs at least ${minlength} characters.`);
    else refuse('');
    return input.hasAttribute('aria-invalid');
  };
  const row = h('div', { class: 'field' }, h('label', { for: id }, label), hint && h('p', { id: `${id}-hint`, class: 'hint' }, hint), input, refusal);
  if (!hint) input.setAttribute('aria-describedby', `${id}-refusal`);
  return { row, input, label, refuse, check };
}
