/** The servers of the caches and sessions, and the processes that are alive. */

import { h } from '/page/dom.js';
import { bytes, facts, milliseconds, number, span, table, row } from './format.js';
import { morph } from './morph.js';

const ROLES = { serve: 'answers requests', work: 'makes podcasts' };

export function serversView(main) {
  const servers = h('div', { class: 'servers' });
  const times = h('section', { class: 'sheet', 'aria-labelledby': 'times-title' });
  const processes = h('section', { class: 'sheet', 'aria-labelledby': 'processes-title' });
  main.append(h('h1', { tabindex: '-1' }, 'Servers'), servers, times, processes);
  return (summary) => {
    morph(servers, summary.servers.map(server));
    morph(times, h('h2', { id: 'times-title' }, 'Time of a write, last minute'),
      table('Time of a write', ['Server', 'Writes', 'Half within', '99 of 100 within'], summary.node_times.map((one) => row(one.node, [
        h('code', {}, one.node), number(one.writes), milliseconds(one.p50_ms), milliseconds(one.p99_ms)])), 'Nothing was written to a server yet.'),
      h('p', { class: 'hint' }, 'From a write on the wire, of one or many commands, to its last reply. Past 0.5 s the connection is given up.'));
    morph(processes, h('h2', { id: 'processes-title' }, 'Processes'),
      summary.processes.error
        ? h('p', { class: 'refusal' }, `Which are alive is kept on the server of the caches: ${summary.processes.error}`)
        : table('Processes', ['Process', 'What it does'], grouped(summary.processes.alive).map(([name, roles]) => row(name, [h('code', {}, name), roles.map((role) => ROLES[role] ?? role).join(', ')])), 'None has said that it is alive.'),
      h('p', { class: 'hint' }, 'Of every host. One that has said nothing for 13 s is gone.'));
  };
}

/** Each process once, with all that it does. */
function grouped(alive) {
  const found = new Map();
  for (const { role, name } of alive) found.set(name, [...(found.get(name) ?? []), role]);
  return [...found];
}

function server(one) {
  const part = one.bound ? one.used / one.bound : 0;
  return h('article', { class: `sheet server${one.error ? ' ill' : ''}`, 'data-key': `${one.uses} ${one.name}`, 'aria-label': one.name },
    h('h2', {}, h('code', {}, one.name)),
    h('p', { class: 'hint' }, one.error ? one.uses : `${one.role}, version ${one.version}: ${one.uses}`),
    one.error
      ? h('p', { class: 'verdict bad' }, `It does not answer: ${one.error}`)
      : [
        facts(
          ['Answers in', milliseconds(one.answered_ms)],
          ['Memory', one.bound ? `${bytes(one.used)} of ${bytes(one.bound)}` : `${bytes(one.used)}, no bound`],
          ['When full', one.policy],
          ['Keys', number(one.keys)],
          ['Evicted', number(one.evicted)],
          ['Expired', number(one.expired)],
          ['Commands a second', number(one.commands_per_second)],
          ['Clients', `${number(one.clients)}, ${number(one.tracking_clients)} told of changes`],
          ['Keys it tells of', number(one.tracked_keys)],
          ['Up for', span(one.uptime_seconds)],
        ),
        one.bound > 0 && h('progress', { max: '1', value: String(part), 'aria-label': 'Memory used' }),
        one.replicas.length > 0 && table('Replicas', ['Replica', 'State', 'Behind', 'Said so'], one.replicas.map((replica) => row(replica.name, [
          h('code', {}, replica.name), replica.state, bytes(replica.behind_bytes), `${span(replica.lag_seconds)} ago`])), ''),
      ]);
}
