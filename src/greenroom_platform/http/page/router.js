/** Views by the fragment of the address: `#/topics/<id>/2`. */

import { clearNotice, h, replace } from './dom.js';
import { hold, release, watchPlaces } from './places.js';
import { reach } from './reach.js';
import { inWords } from './words.js';

let current = new AbortController();
let left = '';
let failed = false;
let routes = [];

/**
 * Show the view of the address, now and whenever it changes.
 *
 * @param table [[pattern, name, view]]: a view is given its part of the page, what the pattern's groups caught and a
 *   signal that is aborted when it is left; it fills the part, and returns the title.
 */
export function start(table) {
  routes = table;
  watchPlaces();
  window.addEventListener('hashchange', () => { clearNotice(); show({ moved: true }); });
  reach.addEventListener('back', () => { if (failed) show({}); });
  document.querySelector('.skip').addEventListener('click', (event) => {
    event.preventDefault();
    document.getElementById('main').focus();
  });
  show({});
}

export function go(address) {
  if (location.hash === address) show({ moved: true });
  else location.hash = address;
}

async function show({ moved = false }) {
  const address = location.hash.startsWith('#/') ? location.hash.slice(1) : '/';
  current.abort();
  current = new AbortController();
  const { signal } = current;
  const main = document.getElementById('main');
  const [name, view, parts] = found(address);
  for (const link of document.querySelectorAll('[data-route]')) {
    if (link.dataset.route === name) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  failed = false;
  const place = hold();
  if (moved && place === null) window.scrollTo(0, 0);
  main.setAttribute('aria-busy', 'true');
  try {
    const title = await view(main, parts, signal);
    if (signal.aborted) return;
    document.title = title ? `${title} · Greenroom` : 'Greenroom';
  } catch (error) {
    if (signal.aborted) return;
    failed = error.name === 'Unreachable' || error.status >= 500;
    if (error.name !== 'Problem' && error.name !== 'Unreachable') console.error(error);
    complain(main, error);
  }
  main.removeAttribute('aria-busy');
  if (moved) focusOn(main, place !== null && left);
  release(place);
  left = `#${address}`;
}

// Who comes back stands at the link that led away; who comes first, at the beginning.
function focusOn(main, from) {
  const link = from && [...main.querySelectorAll('a[href]')].find((one) => one.getAttribute('href') === from);
  (link || main.querySelector('[data-focus]') || main.querySelector('h1') || main).focus({ preventScroll: true });
}

function found(address) {
  for (const [pattern, name, view] of routes) {
    const match = pattern.exec(address);
    try {
      if (match) return [name, view, match.slice(1).map((part) => part && decodeURIComponent(part))];
    } catch {
      // A percent sign that begins nothing: an address of no view.
    }
  }
  return ['', lost, []];
}

function complain(main, error) {
  const missing = error.status === 404;
  document.title = `${missing ? 'Not found' : 'Error'} · Greenroom`;
  replace(
    main,
    h(
      'div',
      { class: 'panel' },
      h('h1', { tabindex: '-1' }, missing ? 'Not found' : 'This could not be shown'),
      h('p', {}, inWords(error)),
      h(
        'p',
        { class: 'actions' },
        !missing && h('button', { type: 'button', class: 'primary', on: { click: () => show({ moved: true }) } }, 'Try again'),
        h('a', { class: 'button', href: '#/' }, 'All topics'),
      ),
    ),
  );
}

async function lost(main) {
  replace(
    main,
    h(
      'div',
      { class: 'panel' },
      h('h1', { tabindex: '-1' }, 'Not found'),
      h('p', {}, 'This address leads nowhere on this page.'),
      h('p', { class: 'actions' }, h('a', { class: 'button', href: '#/' }, 'All topics')),
    ),
  );
  return 'Not found';
}
