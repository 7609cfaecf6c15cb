/** The queue of podcasts: what waits, who makes it, what has failed; and what the recordings need. */

import { h, notify } from '/page/dom.js';
import { count } from '/page/words.js';
import { reasoned } from './dialog.js';
import { bytes, facts, moment, number, row, since, span, table } from './format.js';
import { act, mayAct } from './live.js';
import { morph } from './morph.js';

const WORDS = {
  queued: 'waits',
  script_generating: 'script',
  audio_rendering: 'recording',
  ready_to_stream: 'ready',
  error: 'failed',
};
const ACTS = {
  retry: ['Retry', 'Make this podcast once more?', 'It is queued under the same id, with all its attempts, and who opens it sees it being made.', false],
  release: ['Give back', 'Take this podcast from its worker?', 'Its worker stops, and another one, or the same, may take it up at once. The attempt is not counted.', false],
  stop: ['Fail', 'Let this podcast fail?', 'Whoever makes it stops, and listeners are told that it failed.', true],
  delete: ['Delete', 'Delete this podcast?', 'Nobody finds it any more. Its recording is removed an hour later, for those who hear it now.', true],
};

export function podcastsView(main, signal) {
  const queue = h('section', { class: 'sheet', 'aria-labelledby': 'queue-title' });
  const recordings = h('section', { class: 'sheet', 'aria-labelledby': 'recordings-title' });
  const tasks = h('section', { class: 'sheet', 'aria-labelledby': 'tasks-title' });
  main.append(h('h1', { tabindex: '-1' }, 'Podcasts'), h('div', { class: 'pair' }, queue, recordings), tasks);
  main.addEventListener('click', (event) => {
    const button = event.target.closest('[data-act]');
    if (button) onTask(button.dataset.act, button.dataset.id);
    if (event.target.closest('#pause')) pause();
    if (event.target.closest('#resume')) resume();
  }, { signal });
  return (summary) => {
    drawQueue(queue, summary.queue);
    drawRecordings(recordings, summary.queue.recordings);
    drawTasks(tasks, summary.queue);
  };
}

function drawQueue(section, queue) {
  const { paused } = queue;
  morph(section,
    h('h2', { id: 'queue-title' }, 'Queue'),
    queue.error && h('p', { class: 'refusal' }, queue.error),
    paused
      ? h('p', { class: 'verdict unsure', id: 'paused' }, 'Paused by ', h('strong', {}, paused.who), ` for ${since(paused.since)}: ${paused.why}`)
      : h('p', { class: 'verdict good' }, 'Podcasts are made as they are asked for.'),
    facts(
      ['Unfinished', `${number(queue.unfinished)} of at most ${number(queue.most)}`],
      ['Oldest waits', queue.unfinished ? span(queue.oldest_seconds) : '–'],
      ['Attempts each', number(queue.attempts)],
    ),
    mayAct() && queue.controllable && h('div', { class: 'actions' }, paused
      ? h('button', { type: 'button', id: 'resume', class: 'primary' }, 'Resume the queue')
      : h('button', { type: 'button', id: 'pause' }, 'Pause the queue')));
}

function drawRecordings(section, recordings) {
  const part = recordings ? recordings.bytes / recordings.max_bytes : 0;
  morph(section,
    h('h2', { id: 'recordings-title' }, 'Recordings'),
    recordings
      ? [
        facts(['Whole recordings', number(recordings.number)], ['They need', `${bytes(recordings.bytes)} of ${bytes(recordings.max_bytes)}`], ['Kept for', `${recordings.max_age_days.toFixed(0)} days at most`]),
        h('progress', { max: '1', value: String(part), 'aria-label': 'Room that recordings need' }),
        h('p', { class: 'hint' }, 'Beyond that the oldest are removed.'),
      ]
      : h('p', { class: 'hint' }, 'Not known.'));
}

function drawTasks(section, { tasks, attempts }) {
  morph(section,
    h('div', { class: 'head' }, h('h2', { id: 'tasks-title' }, 'Podcasts'), h('p', { class: 'hint' }, `${count(tasks.length, 'podcast')}: those that wait first, then the last that have ended.`)),
    table('Podcasts', ['Podcast', 'Topic', 'State', 'Attempt', 'Worker', 'Changed', mayAct() ? 'Actions' : ''].filter(Boolean), tasks.map((task) => row(task.podcast_id, [
      h('code', { title: task.podcast_id }, task.podcast_id.slice(0, 8)),
      task.topic_id,
      h('div', { class: `state ${task.status}` }, stateOf(task)),
      `${task.attempts ?? 0} of ${attempts}`,
      workerOf(task),
      moment(task.updated_at),
      ...(mayAct() ? [h('div', { class: 'row-actions' }, actsOf(task).map((name) => h('button', { type: 'button', class: `small${ACTS[name][3] ? ' danger' : ''}`, 'data-act': name, 'data-id': task.podcast_id, 'aria-label': `${ACTS[name][0]} ${task.podcast_id}` }, ACTS[name][0])))] : []),
    ])), 'Nobody has asked for a podcast yet.'));
}

function stateOf(task) {
  const word = WORDS[task.status] ?? task.status;
  if (task.status === 'error') return [h('strong', {}, word), h('span', { class: 'hint' }, task.error_message ?? '')];
  if (task.worker && task.progress > 0) {
    return [h('strong', {}, `${word}, ${Math.round(task.progress * 100)} %`), h('progress', { max: '1', value: String(task.progress), 'aria-label': 'Progress' })];
  }
  return [h('strong', {}, word)];
}

function workerOf(task) {
  if (task.worker) return [task.worker, h('span', { class: 'hint' }, `claim left: ${span(Math.max(0, (new Date(task.claimed_until) - Date.now()) / 1000))}`)];
  if (task.retry_at && new Date(task.retry_at) > Date.now()) return h('span', { class: 'hint' }, `again in ${span((new Date(task.retry_at) - Date.now()) / 1000)}`);
  return '–';
}

function actsOf(task) {
  if (task.status === 'error') return ['retry', 'delete'];
  if (task.status === 'ready_to_stream') return ['delete'];
  return task.worker ? ['release', 'stop', 'delete'] : ['stop', 'delete'];
}

async function onTask(name, id) {
  const [button, title, effect, danger] = ACTS[name];
  const done = await reasoned({ title, effect, button, danger, work: (why) => act(`/podcasts/${encodeURIComponent(id)}/${name}`, { why }) });
  if (done) notify(`Podcast ${id.slice(0, 8)}: ${done.outcome}.`);
}

async function pause() {
  const done = await reasoned({
    title: 'Pause the queue?',
    effect: 'Within a second or two no worker takes up a podcast, on any host. What is being made is made. It lasts until somebody resumes the queue, over restarts too.',
    button: 'Pause the queue',
    work: (why) => act('/queue/pause', { why }),
  });
  if (done) notify('The queue is paused.');
}

async function resume() {
  const done = await reasoned({
    title: 'Resume the queue?',
    effect: 'Workers take up what waits within a second or two.',
    button: 'Resume the queue',
    work: (why) => act('/queue/resume', { why }),
  });
  if (done) notify('The queue goes on.');
}
