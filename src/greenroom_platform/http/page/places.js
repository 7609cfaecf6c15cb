/** How far each page of the browser's history was scrolled, so that one comes back to where one was. */

const PAUSE = 150;

let timer = 0;
let held = true;

export function watchPlaces() {
  history.scrollRestoration = 'manual';
  window.addEventListener('scroll', () => {
    clearTimeout(timer);
    if (!held) timer = setTimeout(keep, PAUSE);
  }, { passive: true });
  // Before a link is followed, and before the page is loaded again: the pause may not be over.
  document.addEventListener('click', keep, { capture: true });
  window.addEventListener('pagehide', keep);
}

/**
 * A view is about to take the page: what the browser scrolls until it stands is nobody's doing.
 *
 * @returns where it was scrolled to when it was left; null for one that is new in the history
 */
export function hold() {
  clearTimeout(timer);
  held = true;
  return history.state?.scrolled ?? null;
}

/** The view stands: go to its place, and follow what the visitor scrolls. */
export function release(place) {
  if (place !== null) window.scrollTo(0, place);
  held = false;
  keep();
}

function keep() {
  clearTimeout(timer);
  if (!held) history.replaceState({ ...history.state, scrolled: Math.round(window.scrollY) }, '');
}
