/** Numbers and times as operators read them. */

import { h } from '/page/dom.js';

const NUMBER = new Intl.NumberFormat('en');
const TIME = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const DATE = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short' });
const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

export function number(value) {
  return NUMBER.format(value);
}

/** Reads a second: three digits that count. */
export function rate(value) {
  if (!value) return '0';
  if (value < 0.1) return value.toFixed(2);
  if (value < 10) return value.toFixed(1);
  return NUMBER.format(Math.round(value));
}

export function share(value) {
  if (value === null) return '–';
  if (value > 0.999 && value < 1) return '> 99.9 %';
  return `${(value * 100).toFixed(value === 1 || value === 0 ? 0 : 1)} %`;
}

export function bytes(value) {
  let unit = 0;
  let left = value;
  while (left >= 1024 && unit < UNITS.length - 1) {
    left /= 1024;
    unit += 1;
  }
  return `${unit && left < 10 ? left.toFixed(1) : NUMBER.format(Math.round(left))} ${UNITS[unit]}`;
}

export function milliseconds(value) {
  if (value === null || value === undefined) return '–';
  if (value === 0) return '0';
  if (value < 0.1) return '< 0.1 ms';
  if (value >= 1000) return `${(value / 1000).toFixed(1)} s`;
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
}

/** 75 → "75 s"; 200 → "3 min"; 9000 → "2.5 h". */
export function span(seconds) {
  if (seconds < 1) return '< 1 s';
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${(seconds / 3600).toFixed(1)} h`;
  return `${Math.round(seconds / 86400)} d`;
}

/** A moment today by its time, others by their day too. */
export function moment(timestamp) {
  const at = new Date(timestamp);
  const today = at.toDateString() === new Date().toDateString();
  return h('time', { datetime: timestamp, title: at.toString() }, today ? TIME.format(at) : `${DATE.format(at)}, ${TIME.format(at)}`);
}

export function since(timestamp) {
  return span(Math.max(0, (Date.now() - new Date(timestamp)) / 1000));
}

/** Names and what they are, as a list of pairs. */
export function facts(...pairs) {
  return h('dl', { class: 'facts' }, pairs.filter(Boolean).map(([name, value]) => h('div', {}, h('dt', {}, name), h('dd', {}, value))));
}

/** A table that scrolls by itself where it is too wide. */
export function table(label, heads, rows, empty) {
  if (!rows.length) return h('p', { class: 'hint' }, empty);
  // On a narrow window each row is a list, with the heads before its cells.
  for (const one of rows) [...one.children].forEach((cell, at) => { cell.dataset.label = heads[at]; });
  return h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': `${label}, as a table` },
    h('table', {}, h('thead', {}, h('tr', {}, heads.map((head) => h('th', { scope: 'col' }, head)))), h('tbody', {}, rows)));
}

export function row(key, cells) {
  return h('tr', { 'data-key': key }, cells.map((cell) => h('td', {}, cell)));
}
