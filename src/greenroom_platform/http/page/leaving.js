/** The end of an account. */

import { ask } from './api.js';
import { question } from './dialog.js';
import { announce, h } from './dom.js';
import { form } from './forms.js';
import { left } from './session.js';

/** The form that deletes the account of who is signed in, behind a question. */
export function deletionForm() {
  return form({
    id: 'delete-account',
    title: 'Delete your account',
    button: 'Delete it',
    kind: 'danger',
    fields: [{ name: 'password', label: 'Your password', type: 'password', maxlength: 256, autocomplete: 'current-password' }],
    send: async ({ password }) => {
      const chosen = await question(
        'Delete your account for good?',
        h('p', {}, 'You are signed out everywhere. Your preferences and the list of your podcasts are deleted. This cannot be taken back.'),
        [{ name: 'delete', text: 'Delete it for good', kind: 'danger' }],
      );
      if (chosen !== 'delete') return;
      await ask('/users/me', { method: 'DELETE', body: { password } });
      left();
      announce('Your account is deleted.');
      document.querySelector('#main h1')?.focus();
    },
  });
}
