/** What is being typed, as a listener will see it: the markup of the listener's page, and so its style sheet. */

import { h } from '/page/dom.js';
import { tinted, wave } from '/page/wave.js';
import { day } from '/page/words.js';
import { keywordsOf } from './keywords.js';

export function topicPreview(values, { id }) {
  const keywords = keywordsOf(values.keywords);
  const seed = id || 'new';
  return tinted(
    h(
      'div',
      { class: 'as-listeners' },
      h('p', { class: 'kind' }, 'On its card'),
      h(
        'div',
        { class: 'card' },
        wave(seed, 120, { cut: true }),
        h('h3', {}, values.display_name || '…'),
        h('p', { class: 'about' }, values.description),
        h('p', { class: 'keywords' }, keywords.slice(0, 4).join(' · ')),
      ),
      h('p', { class: 'kind' }, 'On its own page'),
      h(
        'div',
        { class: 'topic-about' },
        h('h3', {}, values.display_name || '…'),
        h('p', {}, values.description),
        h('p', { class: 'keywords' }, keywords.join(' · ')),
      ),
    ),
    seed,
  );
}

export function storyPreview(values, { stored, topics }) {
  const topic = topics.find((one) => one.topic_id === values.topic_id);
  const url = pictured(values.image_url);
  const own = url?.origin === location.origin;
  return tinted(
    h(
      'div',
      { class: 'as-listeners snippet' },
      own && h('img', { src: url.href, alt: '' }),
      h('h3', {}, values.title || '…'),
      h('p', { class: 'when' }, `${topic?.display_name ?? 'No topic yet'} · ${day(stored?.generation_timestamp ?? Date.now())}`),
      h('p', { class: 'text' }, values.text_content || '…'),
      url && !own && h('p', { class: 'when' }, h('a', { href: url.href, rel: 'noopener noreferrer', target: '_blank' }, `Picture at ${url.host}`)),
      values.image_url.trim() && !url && h('p', { class: 'refusal' }, 'The picture’s address is none of http or https: listeners see no picture.'),
    ),
    values.topic_id || 'new',
  );
}

function pictured(given) {
  if (!given.trim() || !URL.canParse(given.trim(), location.href)) return null;
  const url = new URL(given.trim(), location.href);
  return ['http:', 'https:'].includes(url.protocol) ? url : null;
}
