/** A topic becomes one of the listener's own. */

import { announce, h, icon, notify } from './dom.js';
import { changes, prefer, prefers } from './session.js';
import { inWords } from './words.js';

/** A button that follows a topic (one of the session's preferred ones), or no longer. */
export function preferButton(topic, signal) {
  const label = h('span', {});
  const button = h('button', { type: 'button', class: 'prefer' }, icon('mark'), label);
  const show = () => {
    const on = prefers(topic.topic_id);
    button.setAttribute('aria-pressed', String(on));
    button.setAttribute('aria-label', `Follow ${topic.display_name}`);
    label.textContent = on ? 'Following' : 'Follow';
  };
  show();
  changes.addEventListener('change', show, { signal });
  button.addEventListener('click', async () => {
    const wanted = !prefers(topic.topic_id);
    try {
      await prefer(topic.topic_id, wanted);
      announce(wanted ? `${topic.display_name} now comes first.` : `${topic.display_name} is no longer followed.`);
    } catch (error) {
      notify(`This could not be kept. ${inWords(error)}`);
    }
  });
  return button;
}
