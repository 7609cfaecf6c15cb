/** One topic and its stories, page by page. */

import { ask, hasNext } from './api.js';
import { h, replace } from './dom.js';
import { linkFeed, topicFeed } from './feed.js';
import { makeButton } from './podcasts.js';
import { preferButton } from './prefer.js';
import { listenButton, recentRecording } from './recent.js';
import { known } from './session.js';
import { site } from './site.js';
import { day, storiesOf } from './words.js';
import { tinted, wave } from './wave.js';

/** Whatever uses the arrows itself keeps them. */
const USES_ARROWS = 'input, select, textarea, audio, [role=slider]';

export async function topicView(main, [topicId, number], signal) {
  const page = Number(number || 1);
  const id = encodeURIComponent(topicId);
  if (!main.querySelector(`[data-topic="${CSS.escape(topicId)}"]`)) {
    replace(main, h('div', { class: 'topic' }, h('div', { class: 'skeleton tall' }), h('div', { class: 'skeleton taller' })));
  }
  const [{ data: topic }, { data: snippets, headers }, recent] = await Promise.all([
    ask(`/topics/${id}`, { signal }),
    ask(`/snippets?topic_id=${id}&page=${page}`, { signal }),
    recentRecording(topicId, signal),
    known(),
  ]);
  if (signal.aborted) return '';
  linkFeed(topicId, topic.display_name, signal);
  const newer = page > 1 ? address(topicId, page - 1) : null;
  const older = hasNext(headers) ? address(topicId, page + 1) : null;
  replace(
    main,
    h(
      'div',
      { class: page > 1 ? 'topic later' : 'topic', 'data-topic': topicId },
      about(topic, { hasStories: snippets.length > 0 || page > 1, recent }, signal),
      h(
        'section',
        { 'aria-labelledby': 'page-heading' },
        h('h2', { id: 'page-heading', tabindex: '-1', 'data-focus': number ? true : false }, page > 1 ? `Stories, page ${page}` : 'Stories'),
        snippets.length
          ? h('ol', { class: 'snippets' }, snippets.map((snippet) => h('li', {}, snippetArticle(snippet))))
          : empty(page, topicId),
        pager(newer, older, storiesOf(page, snippets.length, older)),
      ),
    ),
  );
  document.addEventListener('keydown', (event) => {
    const target = { ArrowLeft: newer, ArrowRight: older }[event.key];
    const busy = event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey;
    if (target && !busy && !event.target.closest?.(USES_ARROWS)) location.hash = target;
  }, { signal });
  return page > 1 ? `${topic.display_name}, page ${page}` : topic.display_name;
}

/** A story; with the name of its topic where they are mixed. */
export function snippetArticle(snippet, { topic = null, level = 'h3' } = {}) {
  return tinted(
    h(
      'article',
      { class: 'snippet' },
      picture(snippet),
      h(level, { dir: 'auto', ...(level === 'h1' && { tabindex: '-1' }) }, level === 'h1' ? snippet.title : h('a', { href: storyAddress(snippet) }, snippet.title)),
      h(
        'p',
        { class: 'when' },
        topic && h('a', { href: address(snippet.topic_id, 1), dir: 'auto' }, topic),
        topic && ' · ',
        h('time', { datetime: snippet.generation_timestamp }, day(snippet.generation_timestamp)),
      ),
      h('p', { class: 'text', dir: 'auto' }, snippet.text_content),
      elsewhere(snippet),
    ),
    snippet.topic_id,
  );
}

function about(topic, { hasStories, recent }, signal) {
  return tinted(
    h(
      'header',
      { class: 'topic-about' },
      wave(topic.topic_id, 120, { cut: true }),
      h('h1', { tabindex: '-1', dir: 'auto' }, topic.display_name),
      h('p', { dir: 'auto' }, topic.description),
      h('p', { class: 'keywords', dir: 'auto' }, topic.keywords.join(' · ')),
      h(
        'div',
        { class: 'actions' },
        recent && listenButton(topic, recent),
        hasStories && makeButton(topic, recent ? { kind: '', instead: true } : {}),
        preferButton(topic, signal),
      ),
      (recent || site.podcasts) && h('p', { class: 'when' }, h('a', { href: topicFeed(topic.topic_id) }, 'RSS feed of its podcasts')),
    ),
    topic.topic_id,
  );
}

function pager(newer, older, shown) {
  if (!newer && !older) return null;
  return h(
    'nav',
    { class: 'pager', 'aria-label': 'Pages' },
    newer ? h('a', { href: newer, rel: 'prev', class: 'button' }, 'Newer') : h('span', { class: 'button off' }, 'Newer'),
    h('span', { class: 'number' }, shown),
    older ? h('a', { href: older, rel: 'next', class: 'button' }, 'Older') : h('span', { class: 'button off' }, 'Older'),
    h('p', { class: 'hint' }, 'The left and right arrow keys turn pages.'),
  );
}

function empty(page, topicId) {
  return h(
    'div',
    { class: 'panel' },
    h('p', {}, page > 1 ? 'There is nothing on this page.' : 'No stories yet. An editor adds them; come back later.'),
    page > 1 && h('p', { class: 'actions' }, h('a', { class: 'button', href: address(topicId, 1) }, 'First page')),
  );
}

// Pictures of this host are shown. One elsewhere is a link: nothing is loaded from other hosts unasked.
function picture(snippet) {
  const url = pictured(snippet);
  return url?.origin === location.origin ? h('img', { src: url.href, alt: '', loading: 'lazy' }) : null;
}

function elsewhere(snippet) {
  const url = pictured(snippet);
  if (!url || url.origin === location.origin) return null;
  return h('p', { class: 'when' }, h('a', { href: url.href, rel: 'noopener noreferrer', target: '_blank' }, `Picture at ${url.host}`));
}

function pictured({ image_url: given }) {
  if (!given || !URL.canParse(given, location.href)) return null;
  const url = new URL(given, location.href);
  return ['http:', 'https:'].includes(url.protocol) ? url : null;
}

export function storyAddress({ snippet_id: id }) {
  return `#/stories/${encodeURIComponent(id)}`;
}

function address(topicId, page) {
  return `#/topics/${encodeURIComponent(topicId)}${page > 1 ? `/${page}` : ''}`;
}
