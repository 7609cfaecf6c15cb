/** What this tab listens to, kept for when it is loaded again. */

const KEPT = 'greenroom.listening';

/** @param listening {podcast, at}, or null for nothing */
export function keepListening(listening) {
  try {
    if (listening) sessionStorage.setItem(KEPT, JSON.stringify(listening));
    else sessionStorage.removeItem(KEPT);
  } catch {
    // Without storage a reload begins from nothing.
  }
}

export function keptListening() {
  try {
    return JSON.parse(sessionStorage.getItem(KEPT) || 'null');
  } catch {
    return null;
  }
}
