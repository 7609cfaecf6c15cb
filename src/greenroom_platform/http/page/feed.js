/** Podcasts for the programs that fetch them by themselves: the address of a feed (RSS). */

import { ask } from './api.js';
import { question } from './dialog.js';
import { announce, h, notify } from './dom.js';
import { inWords } from './words.js';

/** The address of a topic's feed. */
export function topicFeed(topicId) {
  return `/topics/${encodeURIComponent(topicId)}/feed.xml`;
}

/** Tell the browser, and what reads the page for feeds, where the feed of this view is. */
export function linkFeed(topicId, title, signal) {
  const link = h('link', { rel: 'alternate', type: 'application/rss+xml', title: `Greenroom: ${title}`, href: topicFeed(topicId) });
  document.head.append(link);
  signal.addEventListener('abort', () => link.remove());
}

/** A button that makes the address of one's own feed and shows it, this once. */
export function ownFeedButton() {
  return h('button', { type: 'button', on: { click: offer } }, 'Follow in a podcast app');
}

async function offer() {
  let url;
  try {
    url = (await ask('/history/feed', { method: 'POST' })).data.url;
  } catch (error) {
    notify(`There is no address. ${inWords(error)}`);
    return;
  }
  const address = h('input', { type: 'text', readonly: true, value: url, 'aria-label': 'The address of my feed', on: { focus: ({ target }) => target.select() } });
  const chosen = await question(
    'The address of my feed',
    [
      h('p', {}, 'Give it to a podcast app. Whoever has it can see what you listen to. It is shown this once: a new one ends this one.'),
      h('p', { class: 'field' }, address),
    ],
    [{ name: 'copy', text: 'Copy it', kind: 'primary' }, { name: 'end', text: 'End my feed' }],
    'Close',
  );
  try {
    if (chosen === 'copy') {
      await navigator.clipboard.writeText(url);
      notify('The address of your feed was copied.');
    } else if (chosen === 'end') {
      await ask('/history/feed', { method: 'DELETE' });
      announce('Your feed has ended.');
      notify('Your feed has ended.');
    }
  } catch (error) {
    notify(error.name === 'Problem' || error.name === 'Unreachable' ? inWords(error) : 'The browser did not let it be copied. Make a new one, and copy it by hand.');
  }
}
