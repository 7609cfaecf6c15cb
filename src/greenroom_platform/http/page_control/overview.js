/** Where reads are answered, each keyspace over fifteen minutes, the loads of this moment, and the outbox. */

import { announce, h, notify } from '/page/dom.js';
import { legend, loadsChart, readsChart } from './charts.js';
import { reasoned } from './dialog.js';
import { flowPicture } from './flow.js';
import { bytes, facts, milliseconds, number, rate, row, share, span, table } from './format.js';
import { act, live, mayAct, now } from './live.js';
import { morph } from './morph.js';

export function overviewView(main, signal) {
  const charts = new Map();
  const flow = h('section', { class: 'sheet', 'aria-labelledby': 'flow-title' });
  const keyspaces = h('section', { 'aria-labelledby': 'keyspaces-title' });
  const loads = h('section', { class: 'sheet', 'aria-labelledby': 'loads-title' });
  const outbox = h('section', { class: 'sheet', 'aria-labelledby': 'outbox-title' });
  const cards = h('div', { class: 'keyspaces', 'data-kept': true });
  keyspaces.append(h('h2', { id: 'keyspaces-title' }, 'Keyspaces, 15 minutes'), legend(), cards);
  main.append(h('h1', { tabindex: '-1', class: 'unseen' }, 'Overview'), flow, h('div', { class: 'pair' }, loads, outbox), keyspaces);

  const history = () => { if (now.history) drawCharts(charts, now.history); };
  live.addEventListener('history', history, { signal });
  main.addEventListener('click', (event) => {
    const button = event.target.closest('[data-cancel]');
    if (button) cancel(button.dataset.keyspace, button.dataset.cancel);
    if (event.target.closest('#send-outbox')) send();
  }, { signal });

  return (summary) => {
    morph(flow, h('div', { class: 'head' }, h('h2', { id: 'flow-title' }, 'Reads'), h('p', { class: 'hint' }, spared(summary.flow))), flowPicture(summary.flow));
    for (const keyspace of summary.keyspaces) {
      if (!charts.has(keyspace.name)) {
        charts.set(keyspace.name, card(keyspace, signal));
        cards.append(charts.get(keyspace.name).element);
        history();
      }
      charts.get(keyspace.name).told(keyspace);
    }
    drawLoads(loads, summary);
    drawOutbox(outbox, summary);
  };
}

function spared(flow) {
  const lately = `the last ${span(flow.seconds)}`;
  return flow.spared === null ? `Nothing was read in ${lately}.` : `Of ${lately}, ${share(flow.spared)} were answered without the record.`;
}

function card(keyspace, signal) {
  const reads = readsChart(keyspace.name, signal);
  const loads = loadsChart(keyspace.name, signal);
  const head = h('div', { class: 'head' });
  const said = h('div', {});
  const waiting = h('p', { class: 'hint awaited' }, 'The first point comes in a few seconds.');
  const element = h('article', { class: 'sheet keyspace', 'aria-label': keyspace.name, 'data-points': 'none' },
    head, waiting,
    h('h4', {}, 'Reads a second'), reads.element,
    h('h4', { class: 'of-loads' }, 'Time of a load: ', h('span', { class: 'p50' }, 'half'), ' and ', h('span', { class: 'p99' }, '99 of 100')), loads.element, said);
  return {
    element,
    told(latest) {
      morph(head, h('div', {}, h('h3', {}, latest.name), h('code', {}, latest.pattern)),
        h('p', { class: 'rate' }, rate(latest.flow.reads), h('small', {}, '/s')));
      morph(said, mix(latest.flow), facts(
        ['Record spared', share(latest.flow.spared)],
        ['Loads', number(latest.loads)],
        ['Half within', milliseconds(latest.p50_ms)],
        ['99 of 100 within', milliseconds(latest.p99_ms)],
        ['Waits for a lease', number(latest.lease_waits)],
        ['Refused fills', number(latest.refused_fills)],
        ['Oversize', number(latest.troubles.oversize ?? 0)],
        ['Broken', number(latest.troubles.broken ?? 0)],
        ...others(latest.troubles),
      ));
    },
    draw(times, series) {
      const read = Object.values(series.outcomes).some((values) => values.some((value) => value > 0));
      if (times.length) waiting.textContent = 'Nothing was read in this time.';
      waiting.hidden = read;
      element.dataset.points = read ? 'some' : 'none';
      element.dataset.loads = series.p99_ms.some((value) => value !== null) ? 'some' : 'none';
      if (!read) return;
      reads.draw(times, series);
      loads.draw(times, series);
    },
  };
}

/** Who has answered in the last minute, as shares of a bar and as rates. */
function mix(flow) {
  const parts = [['near', flow.near, 'near'], ['hit', flow.valkey, 'Valkey'], ['shared', flow.shared, 'shared'], ['loaded', flow.record, 'record']].filter(([, value]) => value > 0);
  if (!parts.length) return false;
  return h('p', { class: 'mix' }, parts.map(([name, value, say]) => h('span', { 'data-key': name }, h('span', { class: `swatch ${name}`, 'aria-hidden': 'true' }), `${say} ${rate(value)}/s`)));
}

function others(troubles) {
  return Object.entries(troubles).filter(([kind]) => kind !== 'oversize' && kind !== 'broken')
    .map(([kind, times]) => [`Errors: ${kind.replaceAll('_', ' ')}`, number(times)]);
}

function drawCharts(charts, { times, keyspaces }) {
  for (const keyspace of keyspaces) charts.get(keyspace.name)?.draw(times, keyspace);
}

function drawLoads(section, { loads, near }) {
  const most = loads.slice(0, 20);
  morph(section, h('h2', { id: 'loads-title' }, 'Loads under way'),
    table('Loads under way', ['Key', 'For', 'Waiting', 'Process', mayAct() ? 'Action' : ''].filter(Boolean), most.map((load) => row(`${load.process} ${load.key}`, [
      h('code', {}, load.key), span(load.seconds), number(load.waiting), load.process,
      ...(mayAct() ? [h('button', { type: 'button', class: 'small', 'data-cancel': load.key, 'data-keyspace': load.keyspace, 'aria-label': `Cancel ${load.key}` }, 'Cancel')] : []),
    ])), 'Nothing is being loaded at this moment.'),
    loads.length > most.length && h('p', { class: 'hint' }, `And ${loads.length - most.length} more.`),
    facts(
      ['Near, in all', `${number(near.entries)} ${near.entries === 1 ? 'value' : 'values'}, ${bytes(near.bytes)}`],
      ['Processes here', number(near.processes)],
      ['Drops not acknowledged', number(near.unsent_drops)],
    ));
}

function drawOutbox(section, { outbox }) {
  const waits = outbox.pending > 0;
  morph(section, h('h2', { id: 'outbox-title' }, 'Outbox'),
    outbox.error
      ? h('p', { class: 'refusal' }, outbox.error)
      : facts(['Changes not acknowledged', number(outbox.pending)], ['Oldest waits', waits ? span(outbox.oldest_seconds) : '–']),
    h('p', { class: 'hint' }, 'What was changed in the record and has not been dropped from every cache yet. It is sent by itself, once a second.'),
    mayAct() && h('div', { class: 'actions' }, h('button', { type: 'button', id: 'send-outbox' }, 'Send now')));
}

async function cancel(keyspace, key) {
  const done = await reasoned({
    title: 'Cancel this load?',
    effect: `Whoever waits for ${key} gets an error, and the next reader loads it anew. What the loader has asked of the database may go on there.`,
    button: 'Cancel the load',
    danger: true,
    work: (why) => act('/loads/cancel', { keyspace, key, why }),
  });
  if (done) notify(`Cancelled: ${done.outcome}.`);
}

async function send() {
  const done = await reasoned({
    title: 'Send the outbox now?',
    effect: 'Every change that waits is dropped from the caches, whichever process has made it.',
    button: 'Send now',
    work: (why) => act('/outbox/send', { why }),
  });
  if (done) {
    notify(`Outbox: ${done.outcome}.`);
    announce(`Outbox: ${done.outcome}.`);
  }
}
