/** The bar of the player: it stays while the listener looks around. */

import { announce, h, icon, notify, replace } from './dom.js';
import { STRIDE, keysHelp } from './keys.js';
import { player } from './player.js';
import { STEPS } from './status.js';
import { session, setSpeed } from './session.js';
import { clock, inWords, sentence, spoken } from './words.js';

export const SPEEDS = [0.75, 1, 1.25, 1.5, 1.75, 2];
const BACK = STRIDE;
const FORWARD = 30;
const KEYS = { ArrowLeft: -STRIDE, ArrowDown: -STRIDE, ArrowRight: STRIDE, ArrowUp: STRIDE, PageDown: -FORWARD, PageUp: FORWARD };
const SAID = { preparing: 'Asking for a podcast', waiting: 'Waiting for sound', playing: 'Playing', paused: 'Paused', ended: 'Finished', failed: 'Stopped' };

export function showControls() {
  const bar = document.getElementById('player');
  const play = button('toggle', 'Play', () => player.toggle(), icon('play'));
  const back = button('jump', `Back ${BACK} seconds`, () => player.skip(-BACK), icon('back'), h('span', { 'aria-hidden': 'true' }, `${BACK}`));
  const forward = button('jump', `Forward ${FORWARD} seconds`, () => player.skip(FORWARD), icon('forward'), h('span', { 'aria-hidden': 'true' }, `${FORWARD}`));
  const seek = h('div', { class: 'seek' });
  const close = button('plain', 'Close the player', shut, icon('close'));
  const title = h('a', { class: 'title', dir: 'auto' });
  const state = h('p', { class: 'state' });
  const times = h('p', { class: 'times' });
  const slider = h('input', { type: 'range', min: '0', max: '0', step: '1', value: '0', 'aria-label': 'Position' });
  const speed = speedChoice('player-speed');
  const pace = h('div', { class: 'pace' }, h('label', { for: 'player-speed' }, 'Speed'), speed);
  const help = keysHelp(icon('keys'));
  let dragging = false;

  slider.addEventListener('input', () => { dragging = true; showTime(); });
  slider.addEventListener('change', () => { dragging = false; player.seek(Number(slider.value)); });
  slider.addEventListener('keydown', (event) => {
    const edge = { Home: 0, End: player.end }[event.key];
    if (edge === undefined && !(event.key in KEYS)) return;
    event.preventDefault();
    player.seek(edge ?? player.time + KEYS[event.key]);
  });

  replace(
    bar,
    h('div', { class: 'about' }, title, state),
    h('div', { class: 'keys' }, back, play, forward),
    seek,
    pace,
    help.button,
    close,
    help.list,
  );
  replace(seek, slider, times);
  // What stands over the end of the page must not hide it, and on a telephone it has another height than on a desk.
  new ResizeObserver(([{ target }]) => {
    document.documentElement.style.setProperty('--dock', `${target.offsetHeight}px`);
  }).observe(bar);

  function shut() {
    player.stop();
    document.getElementById('main').focus({ preventScroll: true });
  }

  function showTime() {
    const { end } = player;
    const at = dragging ? Number(slider.value) : Math.min(player.time, end || Infinity);
    slider.max = String(Math.max(end, 1));
    if (!dragging) slider.value = String(at);
    slider.style.setProperty('--played', `${end ? (100 * at) / end : 0}%`);
    slider.setAttribute('aria-valuetext', `${spoken(at)} of ${spoken(end)}${player.whole ? '' : ' so far'}`);
    times.textContent = `${clock(at)} / ${clock(end)}${player.whole || !end ? '' : ' so far'}`;
  }

  let said = '';
  function showState() {
    const { podcast, phase, on } = player;
    bar.hidden = phase === 'idle';
    document.documentElement.dataset.air = phase === 'playing' ? 'on' : player.on ? 'soon' : 'off';
    if (!podcast) {
      said = '';
      return;
    }
    title.textContent = podcast.title;
    if (podcast.podcastId) title.setAttribute('href', address(podcast));
    else title.removeAttribute('href');
    for (const one of [play, back, forward, seek, pace, help.button]) one.hidden = !player.playable;
    if (!player.playable) help.close();
    play.setAttribute('aria-label', on ? 'Pause' : phase === 'ended' ? 'Play again' : 'Play');
    replace(play, icon(on ? 'pause' : 'play'));
    const text = line(player);
    state.textContent = text;
    state.dataset.kind = player.trouble || phase === 'failed' ? 'trouble' : '';
    if (text !== said) announce(`${podcast.title}. ${text}`);
    said = text;
    showSpeed(speed);
    showTime();
  }

  player.addEventListener('change', showState);
  player.addEventListener('time', showTime);
  showState();
}

export function address({ podcastId, topicId }) {
  const topic = topicId ? `/${encodeURIComponent(topicId)}` : '';
  return `#/listen/${encodeURIComponent(podcastId)}${topic}`;
}

/** A choice of the playback speed, kept in the session. */
export function speedChoice(id) {
  const select = h('select', { id });
  select.addEventListener('change', async () => {
    try {
      await setSpeed(Number(select.value));
    } catch (error) {
      notify(`The speed could not be kept. ${inWords(error)}`);
    }
  });
  showSpeed(select);
  return select;
}

export function showSpeed(select) {
  const speed = session.preferences.playback_speed_default;
  // Another client of the platform may have chosen one that is not in our list.
  const speeds = SPEEDS.includes(speed) ? SPEEDS : [...SPEEDS, speed].sort((one, other) => one - other);
  if (select.options.length !== speeds.length || !speeds.every((one, at) => select.options[at].value === String(one))) {
    replace(select, speeds.map((one) => h('option', { value: String(one) }, `${one}×`)));
  }
  if (select.value !== String(speed)) select.value = String(speed);
}

function line({ phase, message, trouble, blocked, status }) {
  if (trouble) return trouble;
  if (blocked) return 'Press play: this browser does not begin by itself.';
  if (message) return sentence(message);
  if (phase === 'waiting' && status && status.status !== 'ready_to_stream') {
    const step = STEPS.find(([name]) => name === status.status);
    if (step) return step[2];
  }
  return SAID[phase] ?? '';
}

function button(kind, label, act, ...content) {
  return h('button', { type: 'button', class: kind, 'aria-label': label, on: { click: act } }, content);
}
