/** Puts the page together. */

import { showWho, youView } from './account.js';
import { showControls } from './controls.js';
import { showFooter } from './footer.js';
import { watchHistory } from './history.js';
import { watchKeys } from './keys.js';
import { listenView } from './listen.js';
import { mineView } from './mine.js';
import { newestView } from './newest.js';
import { player } from './player.js';
import { reach, watchReach } from './reach.js';
import { start } from './router.js';
import { searchView, showSearch } from './search.js';
import { check, known, watchSession } from './session.js';
import { topicView } from './snippets.js';
import { storyView } from './story.js';
import { topicsView } from './topics.js';

watchReach();
showFooter();
showWho();
showControls();
watchKeys();
watchSession();
watchHistory();
showSearch();
reach.addEventListener('back', () => check().catch(() => {}));
known();
player.resume();
start([
  [/^\/$/, 'topics', topicsView],
  [/^\/newest$/, 'newest', newestView],
  [/^\/topics\/([^/]+)(?:\/(\d{1,5}))?$/, 'topics', topicView],
  [/^\/stories\/([^/]+)$/, 'topics', storyView],
  [/^\/listen\/([^/]+)(?:\/([^/]+))?$/, 'listen', listenView],
  [/^\/search\/(.+)$/, 'search', searchView],
  [/^\/mine$/, 'mine', mineView],
  [/^\/you$/, 'you', youView],
]);
