/** What is typed and not saved: it stays while one goes elsewhere on the page, reloads it, or has to sign in again. */

/** With a number: a draft of an earlier page, whose keywords stood on one line, must not be saved as of this one. */
const PREFIX = 'greenroom.draft.2:';

/** `change` whenever a draft has come or gone. */
export const drafts = new EventTarget();

const memory = new Map();

/** The draft of something, {values, base, tag, title, at}; null where there is none. */
export function draft(key) {
  return memory.get(key) ?? null;
}

export function keepDraft(key, kept) {
  const isNew = !memory.has(key);
  memory.set(key, { ...kept, at: new Date().toISOString() });
  store(key);
  if (isNew) drafts.dispatchEvent(new Event('change'));
}

export function dropDraft(key) {
  if (!memory.delete(key)) return;
  store(key);
  drafts.dispatchEvent(new Event('change'));
}

/** [key, draft] of each. */
export function allDrafts() {
  return [...memory];
}

/** Read what an earlier load of the page has left, and ask before the tab is closed upon it. */
export function watchDrafts() {
  try {
    for (const name of Object.keys(sessionStorage)) {
      if (name.startsWith(PREFIX)) memory.set(name.slice(PREFIX.length), JSON.parse(sessionStorage.getItem(name)));
    }
  } catch {
    // Without storage drafts live as long as the page.
  }
  drafts.dispatchEvent(new Event('change'));
  window.addEventListener('beforeunload', (event) => {
    if (memory.size) event.preventDefault();
  });
}

function store(key) {
  try {
    if (memory.has(key)) sessionStorage.setItem(PREFIX + key, JSON.stringify(memory.get(key)));
    else sessionStorage.removeItem(PREFIX + key);
  } catch {
    // It is full, or switched off: the draft is in memory.
  }
}
