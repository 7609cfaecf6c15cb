/** The library: where one begins, and one topic with its stories. */

import { hasNext } from '/page/api.js';
import { h } from '/page/dom.js';
import { count, day, storiesOf } from '/page/words.js';
import { awaited, onBench, trail } from './bench.js';
import { draft } from './drafts.js';
import { topicKind, storyKind } from './kinds.js';
import { readTopics, sawStories } from './pane.js';
import { call } from './staff.js';

export async function libraryView(main, _parts, signal) {
  awaited(main, 'library');
  const [topics, { data: stories }] = await Promise.all([readTopics(signal), call('/snippets', { signal })]);
  if (signal.aborted) return '';
  sawStories(stories);
  const names = new Map(topics.map((one) => [one.topic_id, one.display_name]));
  onBench(main, 'library', [
    h('header', { class: 'head' }, h('h1', { tabindex: '-1' }, 'Library'),
      h('p', { class: 'hint' }, topics.length ? 'Choose a topic to edit it and its stories.' : 'Nothing is here yet. Begin with a topic, or load a file.')),
    h(
      'section',
      { class: 'newest', 'aria-labelledby': 'newest-title' },
      h('h2', { id: 'newest-title' }, 'Newest stories'),
      stories.length ? storyRows(stories, (one) => names.get(one.topic_id)) : h('p', { class: 'hint' }, 'There are none yet.'),
    ),
  ]);
  return 'Library';
}

export async function topicView(main, [id, number], signal) {
  const page = Number(number || 1);
  const part = encodeURIComponent(id);
  awaited(main, 'topic');
  const [{ data: topic }, { data: stories, headers }] = await Promise.all([
    call(`/topics/${part}`, { signal }),
    call(`/snippets?topic_id=${part}&page=${page}`, { signal }),
    readTopics(signal),
  ]);
  if (signal.aborted) return '';
  sawStories(stories);
  const address = (to) => `#/topics/${part}${to > 1 ? `/${to}` : ''}`;
  onBench(main, 'topic', [
    trail(['Library', '#/']),
    h(
      'header',
      { class: 'head' },
      h('h1', { tabindex: '-1', dir: 'auto' }, topic.display_name),
      topic.description && h('p', { dir: 'auto' }, topic.description),
      h('p', { class: 'keywords' }, topic.keywords.join(' · ')),
      h(
        'p',
        { class: 'actions' },
        h('a', { class: 'button primary', href: `#/topics/${part}/edit` }, 'Edit topic'),
        h('a', { class: 'button', href: `#/new-story/${part}` }, 'New story'),
        h('a', { class: 'button', href: `/#/topics/${part}` }, 'As listeners see it'),
        draft(topicKind.key(id)) && h('span', { class: 'badge' }, 'not saved yet'),
      ),
    ),
    h(
      'section',
      { 'aria-labelledby': 'stories-of-topic' },
      h('h2', { id: 'stories-of-topic' }, page > 1 ? `Stories, page ${page}` : 'Stories'),
      page === 1 && stories.length > 0 && !hasNext(headers) && h('p', { class: 'hint' }, count(stories.length, 'story', 'stories')),
      stories.length ? storyRows(stories) : h('p', { class: 'hint' }, page > 1 ? 'There is nothing on this page.' : 'There are none yet. Listeners can have no podcast of this topic.'),
      pager(page, address, hasNext(headers), storiesOf(page, stories.length, hasNext(headers))),
    ),
  ], { current: id });
  return topic.display_name;
}

function storyRows(stories, topicOf = () => null) {
  return h(
    'ol',
    { class: 'rows' },
    stories.map((one) => h(
      'li',
      { class: 'row' },
      h('h3', { dir: 'auto' }, h('a', { href: storyKind.address(one.snippet_id) }, one.title)),
      h('p', { class: 'when' }, topicOf(one) && `${topicOf(one)} · `, h('time', { datetime: one.generation_timestamp }, day(one.generation_timestamp)),
        draft(storyKind.key(one.snippet_id)) && h('span', { class: 'badge' }, 'not saved yet')),
      h('p', { class: 'excerpt', dir: 'auto' }, one.text_content.slice(0, 240)),
    )),
  );
}

function pager(page, address, more, shown) {
  if (page === 1 && !more) return null;
  const step = (text, to, there) => (there ? h('a', { class: 'button', href: address(to) }, text) : h('span', { class: 'button off' }, text));
  return h('nav', { class: 'pager', 'aria-label': 'Pages' }, step('Newer', page - 1, page > 1), h('span', { class: 'number' }, shown), step('Older', page + 1, more));
}
