/** NDJSON in and out: a dry run first, which lists bad lines; then the load; and everything as a file. */

import { announce, h, icon, notify, replace } from '/page/dom.js';
import { count, inWords, sentence } from '/page/words.js';
import { onBench, trail } from './bench.js';
import { readTopics } from './pane.js';
import { showLoaded } from './receipts.js';
import { callRaw } from './staff.js';

const MOST = 32 * 1024 * 1024;
const SHOWN = 160;
const NUMBER = new Intl.NumberFormat('en');

/** Of files that were given one after another, the last is shown, whichever answer comes last. */
let turn = 0;

export async function loadView(main, _parts, signal) {
  const outcome = h('div', { class: 'outcome', 'aria-live': 'polite' });
  const input = h('input', { id: 'file', type: 'file', accept: '.ndjson,.jsonl,application/x-ndjson', class: 'unseen' });
  const drop = h(
    'label',
    { class: 'drop', for: 'file' },
    icon('file'),
    h('strong', {}, 'Drop a file of NDJSON here, or choose one'),
    h('span', { class: 'hint' }, 'It is looked at first. Nothing is stored until you say so.'),
  );
  input.addEventListener('change', () => {
    if (input.files[0]) consider(input.files[0], outcome);
    input.value = '';
  });
  watchDrops(drop, outcome, signal);
  const exporting = h('button', { type: 'button', class: 'button' }, 'Export everything');
  const exported = h('p', { class: 'hint', role: 'status' });
  exporting.addEventListener('click', () => exportAll(exporting, exported));
  onBench(main, 'load', [
    trail(['Library', '#/']),
    h('header', { class: 'head' }, h('h1', { tabindex: '-1' }, 'Load and export')),
    h('section', { 'aria-labelledby': 'load-title' }, h('h2', { id: 'load-title' }, 'Load'), input, drop, outcome, format()),
    h(
      'section',
      { class: 'export', 'aria-labelledby': 'export-title' },
      h('h2', { id: 'export-title' }, 'Export'),
      h('p', {}, 'All topics and stories in one file, which can be loaded again: here, with ', h('code', {}, 'greenroom load'), ', or into another Greenroom.'),
      h('p', { class: 'actions' }, exporting),
      exported,
    ),
  ]);
  await readTopics(signal);
  return 'Load and export';
}

function format() {
  return h(
    'details',
    { class: 'format' },
    h('summary', {}, 'What a file looks like'),
    h('p', {}, 'One JSON object a line, in any order. A line with ', h('code', {}, 'snippet_id'), ' is a story, any other a topic. A line whose id is stored already replaces it; the same again changes nothing.'),
    h('pre', { tabindex: '0', 'aria-label': 'Example' }, '{"topic_id": "sea", "display_name": "The sea", "description": "", "keywords": ["water"]}\n{"snippet_id": "s1", "topic_id": "sea", "title": "Salt", "text_content": "Why it is salty."}'),
    h('p', { class: 'hint' }, 'A file has 32 MiB at most here, and a line 1 MiB; greenroom load takes files of any size.'),
  );
}

function watchDrops(drop, outcome, signal) {
  let depth = 0;
  const over = (change) => {
    depth = Math.max(0, depth + change);
    drop.classList.toggle('over', depth > 0);
  };
  const on = (event, act) => document.addEventListener(event, (happened) => {
    if (![...(happened.dataTransfer?.types ?? [])].includes('Files')) return;
    // Anywhere on the page: a file dropped beside the frame would be opened instead, and the page be gone.
    happened.preventDefault();
    act(happened);
  }, { signal });
  on('dragenter', () => over(1));
  on('dragleave', () => over(-1));
  on('dragover', () => {});
  on('drop', (event) => {
    depth = 0;
    over(0);
    if (event.dataTransfer.files[0]) consider(event.dataTransfer.files[0], outcome);
  });
}

/** On any other view a file is not taken; the browser would open it, and the page be gone. */
export function refuseStrayFiles() {
  const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes('Files');
  document.addEventListener('dragover', (event) => { if (hasFiles(event)) event.preventDefault(); });
  document.addEventListener('drop', (event) => {
    if (!hasFiles(event) || event.defaultPrevented) return;
    event.preventDefault();
    notify('A file is taken on the page “Load and export”. Go there, and drop it again.');
  });
}

async function consider(file, outcome) {
  turn += 1;
  const mine = turn;
  if (file.size > MOST) {
    complain(outcome, `${file.name} has ${NUMBER.format(Math.ceil(file.size / 1024 / 1024))} MiB. At most 32 MiB can be loaded here; use greenroom load.`);
    return;
  }
  replace(outcome, h('p', { class: 'hint' }, `Looking at ${file.name} …`));
  try {
    const found = await sent(file, true);
    const lines = found.bad.length ? await linesOf(file, found.bad.map((one) => one.line)) : new Map();
    if (mine !== turn) return;
    replace(outcome, foundPart(file, found, lines, outcome));
    outcome.querySelector('h3').focus();
  } catch (error) {
    complain(outcome, inWords(error));
  }
}

async function sent(file, dryRun) {
  const response = await callRaw(`/load?dry_run=${dryRun}`, { method: 'POST', headers: { 'Content-Type': 'application/x-ndjson' }, body: file });
  return response.json();
}

function foundPart(file, found, lines, outcome) {
  const good = found.topics + found.snippets;
  const bad = found.bad.length + found.more_bad;
  const load = h('button', { type: 'button', class: 'primary' }, good === 1 ? 'Load the good line' : `Load the ${NUMBER.format(good)} good lines`);
  load.addEventListener('click', () => store(file, load, outcome));
  const summary = good
    ? `${objects(found)} can be loaded${bad ? `; ${count(bad, 'line')} cannot.` : '. No line is bad.'}`
    : bad === 1 ? 'Its one line cannot be loaded.' : bad ? `None of ${count(bad, 'line')} can be loaded.` : 'The file is empty.';
  return h(
    'section',
    { class: 'sheet', 'aria-labelledby': 'found-title' },
    h('h3', { id: 'found-title', tabindex: '-1', dir: 'auto' }, file.name),
    h('p', {}, summary),
    bad > 0 && badLines(found, lines),
    h('p', { class: 'actions' }, good > 0 && load, h('button', { type: 'button', on: { click: () => replace(outcome) } }, 'Not now')),
  );
}

async function store(file, button, outcome) {
  if (button.getAttribute('aria-disabled') === 'true') return;
  button.setAttribute('aria-disabled', 'true');
  try {
    const done = await sent(file, false);
    const bad = done.bad.length + done.more_bad;
    const left = bad ? ` ${count(bad, 'line')} left out.` : '';
    showLoaded(done.changes ? `${objects(done)} from ${file.name}.${left}` : `${file.name} has nothing that was not stored already.${left}`, done.pending);
    replace(outcome);
    announce('The file is loaded.');
    await readTopics();
    document.querySelector('#main h1')?.focus();
  } catch (error) {
    complain(outcome, inWords(error));
  } finally {
    button.removeAttribute('aria-disabled');
  }
}

function badLines(found, lines) {
  return h(
    'div',
    { class: 'table', tabindex: '0', role: 'region', 'aria-label': 'Bad lines' },
    h(
      'table',
      // In words, too: on a narrow screen the rows are laid out as no table's, and would be none to a screen reader.
      { role: 'table' },
      h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' }, ['Line', 'What is wrong', 'What to do'].map((name) => h('th', { role: 'columnheader', scope: 'col' }, name)))),
      h('tbody', { role: 'rowgroup' }, found.bad.map((one) => h(
        'tr',
        { role: 'row' },
        h('td', { role: 'cell', class: 'number' }, NUMBER.format(one.line)),
        h('td', { role: 'cell' }, h('strong', {}, one.field), ` ${one.reason}`, lines.has(one.line) && h('code', { class: 'line' }, lines.get(one.line))),
        h('td', { role: 'cell' }, remedy(one)),
      ))),
    ),
    found.more_bad > 0 && h('p', { class: 'hint' }, `And ${NUMBER.format(found.more_bad)} more.`),
  );
}

function remedy(one) {
  return /greenroom load -h/.test(one.remedy) ? 'See below what a file looks like.' : sentence(one.remedy);
}

/** The beginnings of lines, by their numbers. */
async function linesOf(file, numbers) {
  const wanted = new Set(numbers);
  const found = new Map();
  let at = 0;
  for (const line of (await file.text()).split('\n')) {
    at += 1;
    if (wanted.has(at)) found.set(at, line.length > SHOWN ? `${line.slice(0, SHOWN)} …` : line);
  }
  return found;
}

async function exportAll(button, told) {
  if (button.getAttribute('aria-disabled') === 'true') return;
  button.setAttribute('aria-disabled', 'true');
  told.textContent = 'Reading everything …';
  try {
    const response = await callRaw('/export');
    const content = await response.blob();
    const name = /filename="([^"]+)"/.exec(response.headers.get('content-disposition') || '')?.[1] ?? 'greenroom.ndjson';
    const link = h('a', { href: URL.createObjectURL(content), download: name, hidden: true });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    const lines = (await content.text()).split('\n').length - 1;
    told.textContent = `${name}: ${count(lines, 'line')}, ${NUMBER.format(Math.ceil(content.size / 1024))} KiB.`;
  } catch (error) {
    told.textContent = ['Problem', 'Unreachable'].includes(error.name) ? inWords(error) : 'The export was broken off. Try again.';
  } finally {
    button.removeAttribute('aria-disabled');
  }
}

function objects({ topics, snippets }) {
  const parts = [topics && (topics === 1 ? '1 topic' : `${NUMBER.format(topics)} topics`), snippets && (snippets === 1 ? '1 story' : `${NUMBER.format(snippets)} stories`)].filter(Boolean);
  return parts.join(' and ') || 'Nothing';
}

function complain(outcome, text) {
  replace(outcome, h('p', { class: 'refusal', role: 'alert' }, text));
}
