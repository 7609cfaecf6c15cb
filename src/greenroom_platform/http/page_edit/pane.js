/** The list at the side: all topics, what matches a search, and what is not saved yet. */

import { ask } from '/page/api.js';
import { h, replace } from '/page/dom.js';
import { allDrafts, drafts } from './drafts.js';
import { call } from './staff.js';

const PAUSE = 250;
const SHORTEST = 2;
const LONGEST = 100;

let topics = [];
let asked = 0;
let timer = 0;
/** Whether this service can search; learnt from its first answer. */
let searches = true;
/** Stories that have been listed, for a search where the service has none. */
const seen = new Map();

const box = h('input', { id: 'search', type: 'search', autocomplete: 'off', maxlength: LONGEST, placeholder: 'Search topics and stories', 'aria-label': 'Search topics and stories' });
const ofTopics = h('ul', { class: 'entries', 'aria-labelledby': 'topics-title' });
const topicsTitle = h('h2', { id: 'topics-title' }, 'Topics');
const ofStories = h('div', {});
const unsaved = h('div', {});
let marked = null;

export const pane = {
  element: h(
    'aside',
    { class: 'pane', 'aria-label': 'Library' },
    box,
    h('p', { class: 'actions' }, h('a', { class: 'button soft', href: '#/new-topic' }, 'New topic'), h('a', { class: 'button soft', href: '#/new-story' }, 'New story')),
    unsaved,
    topicsTitle,
    ofTopics,
    ofStories,
  ),
  /** Mark the topic that the page is about. */
  mark(id) {
    marked = id;
    for (const link of ofTopics.querySelectorAll('a')) {
      if (link.dataset.id === id) link.setAttribute('aria-current', 'true');
      else link.removeAttribute('aria-current');
    }
  },
  /** Scroll the list, and not the page, to the topic that is marked. */
  reveal() {
    const link = ofTopics.querySelector('[aria-current]');
    if (!link) return;
    const [list, entry] = [pane.element.getBoundingClientRect(), link.getBoundingClientRect()];
    if (entry.top < list.top || entry.bottom > list.bottom) pane.element.scrollTop += entry.top - list.top - list.height / 3;
  },
};

/** All topics, as they are now. */
export async function readTopics(signal) {
  topics = (await call('/topics', { signal })).data;
  showTopics();
  return topics;
}

/** Remember stories that have been listed. */
export function sawStories(stories) {
  for (const one of stories) seen.set(one.snippet_id, one);
}

export function forgetStory(id) {
  seen.delete(id);
  search();
}

box.addEventListener('input', () => {
  showTopics();
  clearTimeout(timer);
  timer = setTimeout(search, PAUSE);
});
drafts.addEventListener('change', showUnsaved);
showUnsaved();

function showTopics() {
  const query = wanted();
  const found = topics.filter((one) => matches(query, one.display_name, one.topic_id, one.description, ...one.keywords));
  topicsTitle.textContent = query ? `Topics with “${box.value.trim()}”` : 'Topics';
  replace(ofTopics, found.length ? found.map(topicEntry) : h('li', { class: 'hint' }, query ? 'None.' : 'There are none yet.'));
  pane.mark(marked);
}

function topicEntry(topic) {
  return h('li', {}, h('a', { href: `#/topics/${encodeURIComponent(topic.topic_id)}`, 'data-id': topic.topic_id, dir: 'auto' }, topic.display_name));
}

async function search() {
  const query = wanted();
  asked += 1;
  const mine = asked;
  if (query.length < SHORTEST) {
    replace(ofStories);
    return;
  }
  const stories = new Map([...seen.values()].filter((one) => matches(query, one.title, one.text_content)).map((one) => [one.snippet_id, one]));
  if (searches) {
    try {
      const { data } = await ask(`/search?q=${encodeURIComponent(box.value.trim())}`);
      for (const one of data.snippets) stories.set(one.snippet_id, one);
    } catch (error) {
      // Without the call, what has been listed is searched. Anything else is tried again with the next letter.
      if (error.status === 404 || error.status === 405) searches = false;
    }
  }
  if (mine !== asked) return;
  replace(
    ofStories,
    h('h2', { id: 'stories-title' }, `Stories with “${box.value.trim()}”`),
    h(
      'ul',
      { class: 'entries', 'aria-labelledby': 'stories-title' },
      stories.size
        ? [...stories.values()].map((one) => h('li', {}, h('a', { href: `#/stories/${encodeURIComponent(one.snippet_id)}`, dir: 'auto' }, one.title)))
        : h('li', { class: 'hint' }, searches ? 'None.' : 'None of those that have been listed.'),
    ),
  );
}

function showUnsaved() {
  const all = allDrafts();
  replace(
    unsaved,
    all.length > 0 && [
      h('h2', { id: 'unsaved-title' }, 'Not saved yet'),
      h('ul', { class: 'entries unsaved', 'aria-labelledby': 'unsaved-title' }, all.map(([, one]) => h('li', {}, h('a', { href: one.address, dir: 'auto' }, one.title)))),
    ],
  );
}

function wanted() {
  return box.value.trim().toLowerCase();
}

function matches(query, ...texts) {
  return !query || texts.some((text) => text.toLowerCase().includes(query));
}
