/** One story, by an address of its own. */

import { ask } from './api.js';
import { h, replace } from './dom.js';
import { snippetArticle } from './snippets.js';

export async function storyView(main, [snippetId], signal) {
  replace(main, h('div', { class: 'skeleton taller' }));
  const story = await read(snippetId, signal);
  const { data: topic } = await ask(`/topics/${encodeURIComponent(story.topic_id)}`, { signal });
  if (signal.aborted) return '';
  replace(
    main,
    h(
      'div',
      { class: 'story' },
      snippetArticle(story, { topic: topic.display_name, level: 'h1' }),
      h('p', { class: 'actions' }, h('a', { class: 'button', href: `#/topics/${encodeURIComponent(story.topic_id)}` }, `More stories about ${topic.display_name}`)),
    ),
  );
  return story.title;
}

async function read(snippetId, signal) {
  try {
    return (await ask(`/snippets/${encodeURIComponent(snippetId)}`, { signal })).data;
  } catch (error) {
    if (error.status === 404) error.detail = 'there is no such story, or none any more';
    throw error;
  }
}
