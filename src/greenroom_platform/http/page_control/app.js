/** Puts the control room together: who is there, how it is, and one view at a time. */

import { announce, clearNotice, h, icon, replace } from '/page/dom.js';
import { inWords } from '/page/words.js';
import { moment, since } from './format.js';
import { keysView } from './keys.js';
import { begin, end, live, mayAct, now } from './live.js';
import { logView } from './log.js';
import { morph } from './morph.js';
import { overviewView } from './overview.js';
import { podcastsView } from './podcasts.js';
import { serversView } from './servers.js';
import { sessionsView } from './sessions.js';
import { session, signInView, signOut } from './sign_in.js';

const VIEWS = {
  overview: ['Overview', overviewView],
  keys: ['Keys', keysView],
  podcasts: ['Podcasts', podcastsView],
  sessions: ['Sessions', sessionsView],
  servers: ['Servers', serversView],
  log: ['Log', logView],
};

const main = document.getElementById('main');
const health = document.getElementById('health');
const nav = document.getElementById('nav');
const staff = document.getElementById('staff');
let leave = new AbortController();
let said = '';

function route() {
  const name = location.hash.replace(/^#\/?/, '') || 'overview';
  return name in VIEWS ? name : 'overview';
}

/** Show the view of the address. It is told of each summary while it is shown. */
function show({ focus = false } = {}) {
  leave.abort();
  leave = new AbortController();
  const { signal } = leave;
  const name = route();
  const [title, view] = VIEWS[name];
  document.title = `${title} · Control room · Greenroom`;
  for (const link of nav.querySelectorAll('a')) {
    if (link.dataset.route === name) {
      link.setAttribute('aria-current', 'page');
      // On a telephone the links are wider than the screen.
      nav.scrollLeft = link.offsetLeft - nav.offsetLeft - (nav.clientWidth - link.offsetWidth) / 2;
    } else link.removeAttribute('aria-current');
  }
  clearNotice();
  replace(main);
  main.dataset.view = name;
  main.setAttribute('aria-busy', String(!now.summary));
  const draw = view(main, signal);
  const drawn = () => {
    if (!now.summary) return;
    draw(now.summary);
    main.removeAttribute('aria-busy');
  };
  live.addEventListener('summary', drawn, { signal });
  drawn();
  if (focus) main.querySelector('h1')?.focus({ preventScroll: true });
  window.scrollTo(0, 0);
}

function showHealth() {
  const { summary } = now;
  const state = summary.troubles.some((one) => one.severity === 'error') ? 'error' : summary.troubles.length ? 'warning' : 'ok';
  if (health.dataset.state && health.dataset.state !== state) announce(summary.sentence);
  health.hidden = false;
  health.dataset.state = state;
  document.body.dataset.health = state;
  morph(health,
    h('p', { class: 'sentence' }, icon(state === 'ok' ? 'done' : 'ill'), h('span', {}, summary.sentence)),
    summary.troubles.length > 0 && h('ul', { class: 'troubles' }, summary.troubles.map((one) => h('li', { 'data-key': one.kind, class: one.severity },
      h('p', { class: 'what' }, h('strong', {}, capital(one.what)), ' since ', moment(one.since), `, for ${since(one.since)}`),
      h('p', {}, h('span', { class: 'label' }, 'Costs'), ' ', capital(one.cost)),
      h('p', {}, h('span', { class: 'label' }, 'Mend'), ' ', capital(one.mend))))));
  morph(document.getElementById('foot'),
    h('p', {}, 'Told by ', h('strong', {}, summary.process), ' at ', moment(summary.at)),
    h('p', { class: 'links' }, h('a', { href: '/' }, 'Listener’s page'), ' · ', h('a', { href: '/edit' }, 'Editor’s page'), ' · ', h('a', { href: '/docs' }, 'API')));
}

/** Begun like a sentence, unless it begins with an address or a command. */
function capital(text) {
  return /^[a-z]+ /.test(text) && !text.startsWith('greenroom ') ? text[0].toUpperCase() + text.slice(1) : text;
}

/** A service that says nothing is not called healthy, whatever it has said before. */
function quiet() {
  if (health.dataset.state !== 'quiet') announce('No news from the service.');
  health.hidden = false;
  health.dataset.state = 'quiet';
  document.body.dataset.health = 'error';
  const seconds = Math.round((Date.now() - now.at) / 1000);
  morph(health, h('p', { class: 'sentence' }, icon('ill'),
    h('span', {}, `No news from the service for ${seconds} s. What is shown below may be old.`)));
}

function enter(who) {
  nav.hidden = false;
  replace(staff,
    h('span', { class: 'who' }, h('strong', {}, who.who), who.role === 'act' ? ' may act' : ' looks'),
    h('button', { type: 'button', on: { click: leaveRoom } }, 'Sign out'));
  begin(who);
  document.body.dataset.may = mayAct() ? 'act' : 'look';
  show();
}

async function leaveRoom() {
  try {
    await signOut();
  } catch (error) {
    said = inWords(error);
  }
  outside();
}

function outside() {
  end();
  leave.abort();
  nav.hidden = true;
  health.hidden = true;
  delete health.dataset.state;
  delete document.body.dataset.health;
  replace(staff);
  replace(document.getElementById('foot'));
  main.removeAttribute('aria-busy');
  document.getElementById('dialog').close();
  document.title = 'Control room · Greenroom';
  signInView(main, enter, said);
  said = '';
}

window.addEventListener('hashchange', () => { if (now.staff) show({ focus: true }); });
live.addEventListener('summary', showHealth);
live.addEventListener('quiet', quiet);
live.addEventListener('out', () => {
  said = 'Your session is over: sign in again.';
  outside();
});

try {
  const who = await session();
  if (who) enter(who);
  else outside();
} catch (error) {
  said = inWords(error);
  outside();
}
