/** What this installation offers, and whether the browser has a session at all. */

import { ask } from './api.js';

/** `podcasts` is whether podcasts are made here; until it is known, they are. */
export const site = { podcasts: true };

/** Ask; resolves with whether the browser has a listener's `session`, and one of `staff`, living or not. */
export async function readSite() {
  const { data } = await ask('/site', { quiet: true });
  site.podcasts = data.podcasts;
  // What is said of podcasts where none can be had, the style sheet hides.
  document.documentElement.toggleAttribute('data-no-podcasts', !data.podcasts);
  return data;
}
