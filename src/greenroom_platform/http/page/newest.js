/** The newest stories over all topics. */

import { ask } from './api.js';
import { h, replace } from './dom.js';
import { snippetArticle } from './snippets.js';
import { readTopics } from './topics.js';

export async function newestView(main, _parts, signal) {
  const list = h('ol', { class: 'snippets' }, h('li', { class: 'skeleton tall' }), h('li', { class: 'skeleton tall' }));
  replace(
    main,
    h('header', { class: 'lead' }, h('h1', { tabindex: '-1' }, 'Newest'), h('p', {}, 'What was added last, over all topics.')),
    list,
  );
  const [{ data: snippets }, topics] = await Promise.all([ask('/snippets', { signal }), readTopics(signal)]);
  if (signal.aborted) return '';
  const names = new Map(topics.map((topic) => [topic.topic_id, topic.display_name]));
  if (snippets.length) replace(list, snippets.map((snippet) => h('li', {}, snippetArticle(snippet, { topic: names.get(snippet.topic_id), level: 'h2' }))));
  else list.replaceWith(h('div', { class: 'panel' }, h('h2', {}, 'No stories yet'), h('p', {}, 'An editor adds them. Come back later.')));
  return 'Newest';
}
