/** The listener's preferences, with or without an account. */

import { h, notify } from './dom.js';
import { changes, prefer, prefers } from './session.js';
import { showSpeed, speedChoice } from './controls.js';
import { inWords } from './words.js';

/** The part of the page in which they are changed; each change is kept at once. */
export function preferencesPart(topics, signal) {
  const speed = speedChoice('default-speed');
  const boxes = topics.map((topic) => box(topic));
  const show = () => {
    showSpeed(speed);
    for (const { input, topicId } of boxes) input.checked = prefers(topicId);
  };
  changes.addEventListener('change', show, { signal });
  show();
  return h(
    'section',
    { class: 'sheet', 'aria-labelledby': 'preferences-title' },
    h('h2', { id: 'preferences-title' }, 'Preferences'),
    h('p', { class: 'hint' }, 'Kept as soon as you choose: for this visit, or with your account.'),
    h('div', { class: 'field inline' }, h('label', { for: 'default-speed' }, 'Playback speed'), speed),
    boxes.length > 0 && h('fieldset', {}, h('legend', {}, 'Topics that come first'), h('div', { class: 'boxes' }, boxes.map(({ row }) => row))),
  );
}

function box({ topic_id: topicId, display_name: name }) {
  const input = h('input', { type: 'checkbox', name: topicId });
  input.addEventListener('change', async () => {
    try {
      await prefer(topicId, input.checked);
    } catch (error) {
      input.checked = prefers(topicId);
      notify(`This could not be kept. ${inWords(error)}`);
    }
  });
  return { row: h('label', { class: 'box' }, input, h('span', {}, name)), input, topicId };
}
