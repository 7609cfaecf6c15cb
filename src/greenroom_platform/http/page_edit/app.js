/** Puts the editor's page together. */

import { showFooter } from '/page/footer.js';
import { watchReach } from '/page/reach.js';
import { start } from '/page/router.js';
import { watchDrafts } from './drafts.js';
import { newStoryView, newTopicView, storyView, topicEditView } from './editor.js';
import { libraryView, topicView } from './library.js';
import { loadView, refuseStrayFiles } from './load.js';
import { known, showStaff, signedIn } from './staff.js';

watchReach();
showFooter();
showStaff();
watchDrafts();
refuseStrayFiles();
await known();
start([
  [/^\/$/, 'library', signedIn(libraryView)],
  [/^\/load$/, 'load', signedIn(loadView)],
  [/^\/new-topic$/, 'library', signedIn(newTopicView)],
  [/^\/new-story(?:\/([^/]+))?$/, 'library', signedIn(newStoryView)],
  [/^\/topics\/([^/]+)\/edit$/, 'library', signedIn(topicEditView)],
  [/^\/topics\/([^/]+)(?:\/(\d{1,5}))?$/, 'library', signedIn(topicView)],
  [/^\/stories\/([^/]+)$/, 'library', signedIn(storyView)],
]);
