/** The search over topics and stories: what is found stands under the box as one types, and on a page of its own. */

import { ask } from './api.js';
import { h, replace } from './dom.js';
import { go } from './router.js';
import { count, day, inWords } from './words.js';

const PAUSE = 180;
const LEAST = 2;
/** Of each kind under the box; the page has all that are answered. */
const SHOWN = 5;

export function showSearch() {
  const form = document.getElementById('search');
  const input = document.getElementById('search-text');
  const box = document.getElementById('search-found');
  let timer = 0;
  let asking = new AbortController();
  let shownFor = '';

  const open = (on) => { box.hidden = !on; };

  // The last question is the one that is answered: an earlier one is given up, however late its answer would come.
  async function look() {
    asking.abort();
    asking = new AbortController();
    const { signal } = asking;
    const text = input.value.trim();
    if (text.length < LEAST) {
      shownFor = '';
      open(false);
      return;
    }
    try {
      const found = await find(text, signal);
      if (signal.aborted) return;
      replace(box, listed(found, text));
    } catch (error) {
      if (signal.aborted) return;
      replace(box, h('p', { class: 'none', role: 'status' }, inWords(error)));
    }
    shownFor = text;
    if (form.contains(document.activeElement)) open(true);
  }

  function leave() {
    clearTimeout(timer);
    asking.abort();
    open(false);
  }

  input.addEventListener('input', () => {
    clearTimeout(timer);
    timer = setTimeout(look, PAUSE);
  });
  input.addEventListener('focus', () => { if (shownFor && shownFor === input.value.trim()) open(true); });
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    const text = input.value.trim();
    if (text.length < LEAST) return;
    leave();
    go(`#/search/${encodeURIComponent(text)}`);
  });
  form.addEventListener('keydown', (event) => {
    if (event.key === 'Escape' && !box.hidden) {
      event.preventDefault();
      input.focus();
      leave();
      return;
    }
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step || box.hidden) return;
    const stops = [input, ...box.querySelectorAll('a')];
    const at = stops.indexOf(document.activeElement);
    event.preventDefault();
    stops[(at + step + stops.length) % stops.length].focus();
  });
  form.addEventListener('focusout', (event) => { if (!form.contains(event.relatedTarget)) open(false); });
  window.addEventListener('hashchange', () => {
    leave();
    if (!location.hash.startsWith('#/search/')) input.value = shownFor = '';
  });
}

/** What was found, all of it, for an address that one can keep. */
export async function searchView(main, [text], signal) {
  const title = h('h1', { tabindex: '-1' }, `“${text}”`);
  const part = h('div', { class: 'results' }, h('div', { class: 'skeleton tall' }));
  replace(main, h('header', { class: 'lead small' }, h('p', { class: 'kind' }, 'Search'), title), part);
  const input = document.getElementById('search-text');
  if (document.activeElement !== input) input.value = text;
  const found = await find(text, signal);
  if (signal.aborted) return '';
  const { topics, snippets } = found;
  if (!topics.length && !snippets.length) {
    replace(part, h('div', { class: 'panel' }, h('p', {}, 'Nothing was found. Try fewer or other words.'), h('p', { class: 'actions' }, h('a', { class: 'button', href: '#/' }, 'All topics'))));
  } else {
    replace(
      part,
      topics.length > 0 && h('section', {}, h('h2', {}, 'Topics'), h('ul', { class: 'rows' }, topics.map(topicRow))),
      snippets.length > 0 && h('section', {}, h('h2', {}, 'Stories'), h('ul', { class: 'rows' }, snippets.map(storyRow))),
    );
  }
  return `Search: ${text}`;
}

async function find(text, signal) {
  return (await ask(`/search?q=${encodeURIComponent(text)}`, { signal, quiet: true })).data;
}

function listed({ topics, snippets }, text) {
  const said = h('p', { class: 'unseen', role: 'status' }, `${count(topics.length, 'topic')}, ${count(snippets.length, 'story', 'stories')}`);
  if (!topics.length && !snippets.length) return [said, h('p', { class: 'none' }, 'Nothing was found.')];
  const more = topics.length > SHOWN || snippets.length > SHOWN;
  return [
    said,
    topics.length > 0 && h('p', { class: 'kind', id: 'found-topics' }, 'Topics'),
    topics.length > 0 && h('ul', { 'aria-labelledby': 'found-topics' }, topics.slice(0, SHOWN).map((one) => h('li', {}, topicLink(one)))),
    snippets.length > 0 && h('p', { class: 'kind', id: 'found-stories' }, 'Stories'),
    snippets.length > 0 && h('ul', { 'aria-labelledby': 'found-stories' }, snippets.slice(0, SHOWN).map((one) => h('li', {}, storyLink(one)))),
    more && h('a', { class: 'more', href: `#/search/${encodeURIComponent(text)}` }, 'All that was found'),
  ];
}

function topicRow(topic) {
  return h('li', {}, h('h3', {}, topicLink(topic)), h('p', { class: 'about', dir: 'auto' }, topic.description));
}

function storyRow(snippet) {
  return h(
    'li',
    {},
    h('h3', {}, storyLink(snippet)),
    snippet.generation_timestamp && h('p', { class: 'when' }, h('time', { datetime: snippet.generation_timestamp }, day(snippet.generation_timestamp))),
    snippet.text_content && h('p', { class: 'about', dir: 'auto' }, snippet.text_content),
  );
}

function topicLink(topic) {
  return h('a', { href: `#/topics/${encodeURIComponent(topic.topic_id)}`, dir: 'auto' }, topic.display_name);
}

function storyLink(snippet) {
  return h('a', { href: `#/stories/${encodeURIComponent(snippet.snippet_id)}`, dir: 'auto' }, snippet.title);
}
