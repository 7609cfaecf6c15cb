/** The fields of a form: labelled, with what is refused beside them. */

import { h } from '/page/dom.js';
import { count, sentence } from '/page/words.js';

/** Words that the studio's voices speak in a minute. */
const SPOKEN = 150;

/**
 * Fields by their names: {rows, values(), fill(values), check(), refuse(errors)}.
 *
 * @param given [{name, label, hint, kind: 'area' | 'select' | undefined, rows, options, required, reads}]
 * @param onInput called with the field's name when something is typed
 */
export function fieldset(form, given, onInput = () => {}) {
  const fields = new Map(given.map((one) => [one.name, field(form, one, onInput)]));
  const all = [...fields.values()];
  return {
    rows: all.map(({ row }) => row),
    control: (name) => fields.get(name).control,
    values: () => Object.fromEntries([...fields].map(([name, { control }]) => [name, control.value])),
    fill(values) {
      for (const [name, one] of fields) {
        if (values[name] === undefined || one.control.value === values[name]) continue;
        one.control.value = values[name];
        one.shown();
        one.refuse('');
      }
    },
    /** Whether all that must be there is; the first that is not gets the focus. */
    check() {
      const missing = all.filter((one) => one.check());
      missing[0]?.control.focus();
      return !missing.length;
    },
    /** Show the errors that are about a field of these; returns the others. */
    refuse(errors) {
      const others = [];
      let first = null;
      for (const error of errors) {
        const one = fields.get(error.field.replace(/\[.*$/, ''));
        if (!one) {
          others.push(error);
          continue;
        }
        one.refuse(`${sentence(`${one.label} ${error.reason}`)} ${sentence(error.remedy)}`);
        first ??= one;
      }
      first?.control.focus();
      return others;
    },
  };
}

function field(form, { name, label, hint, kind = 'input', rows, options = [], required = false, reads = false }, onInput) {
  const id = `${form}-${name}`;
  const described = [hint && `${id}-hint`, reads && `${id}-length`, `${id}-refusal`].filter(Boolean).join(' ');
  const common = { id, name, 'aria-describedby': described, 'aria-required': required ? 'true' : null };
  const control = made(kind, common, rows, options);
  const refusal = h('p', { id: `${id}-refusal`, class: 'refusal', 'aria-live': 'polite' });
  const length = reads ? h('p', { id: `${id}-length`, class: 'hint' }) : null;
  const refuse = (text) => {
    refusal.textContent = text;
    if (text) control.setAttribute('aria-invalid', 'true');
    else control.removeAttribute('aria-invalid');
  };
  const shown = () => { if (length) length.textContent = spokenLength(control.value); };
  control.addEventListener('input', () => {
    refuse('');
    shown();
    onInput(name);
  });
  shown();
  const row = h('div', { class: 'field' }, h('label', { for: id }, label, !required && kind !== 'select' && h('span', { class: 'optional' }, ' may be empty')),
    hint && h('p', { id: `${id}-hint`, class: 'hint' }, hint), control, length, refusal);
  const check = () => {
    if (required && !control.value.trim()) refuse(`${label} is missing.`);
    return control.hasAttribute('aria-invalid');
  };
  return { row, control, label, refuse, check, shown };
}

function made(kind, common, rows, options) {
  if (kind === 'area') return h('textarea', { ...common, rows, spellcheck: 'true', dir: 'auto' });
  if (kind === 'select') {
    return h('select', common, h('option', { value: '' }, 'Choose one'), options.map(([value, text]) => h('option', { value }, text)));
  }
  return h('input', { ...common, type: 'text', autocomplete: 'off', dir: 'auto' });
}

function spokenLength(text) {
  const words = text.trim() ? text.trim().split(/\s+/).length : 0;
  const seconds = Math.round((words / SPOKEN) * 60);
  return `${count(words, 'word')}${words ? `, about ${count(Math.max(1, seconds), 'second')} when it is spoken` : ''}`;
}
