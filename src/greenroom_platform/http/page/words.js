/** Numbers, times and errors as people read them. */

const DAY = new Intl.DateTimeFormat('en', { day: 'numeric', month: 'long', year: 'numeric' });
const SHORT_DAY = new Intl.DateTimeFormat('en', { day: 'numeric', month: 'long' });
const AGO = new Intl.RelativeTimeFormat('en', { numeric: 'auto' });
/** Stories on a page, as the API gives them. */
const PAGE = 20;
const UNITS = [['day', 86400], ['hour', 3600], ['minute', 60]];

/** 65 → "1:05"; 3725 → "1:02:05". */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const tail = `${String(rest).padStart(2, '0')}`;
  return hours ? `${hours}:${String(minutes).padStart(2, '0')}:${tail}` : `${minutes}:${tail}`;
}

/** 65 → "1 minute 5 seconds". */
export function spoken(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const parts = [[Math.floor(whole / 3600), 'hour'], [Math.floor(whole / 60) % 60, 'minute'], [whole % 60, 'second']];
  const said = parts.filter(([number]) => number).map(([number, unit]) => count(number, unit));
  return said.join(' ') || '0 seconds';
}

export function count(number, unit, units = `${unit}s`) {
  return `${number} ${number === 1 ? unit : units}`;
}

/** Which stories a page of a topic has: "Stories 1–20", "Stories 21–25 of 25"; how many there are, the last page tells. */
export function storiesOf(page, length, more) {
  if (!length) return 'No stories';
  const last = (page - 1) * PAGE + length;
  return `Stories ${last - length + 1}–${last}${more ? '' : ` of ${last}`}`;
}

export function day(timestamp) {
  return DAY.format(new Date(timestamp));
}

/** "today", "yesterday", "on 12 November", with the year where it is another. */
export function onDay(timestamp) {
  const then = new Date(timestamp);
  const midnight = new Date().setHours(0, 0, 0, 0);
  const days = Math.round((midnight - new Date(then).setHours(0, 0, 0, 0)) / 86_400_000);
  if (days === 0) return 'today';
  if (days === 1) return 'yesterday';
  return `on ${then.getFullYear() === new Date().getFullYear() ? SHORT_DAY.format(then) : DAY.format(then)}`;
}

/** 322 → "5 min"; 40 → "40 s". */
export function length(seconds) {
  return seconds < 60 ? `${Math.max(1, Math.round(seconds))} s` : `${Math.round(seconds / 60)} min`;
}

/** "3 minutes ago"; anything under a minute is "just now", since a session's activity is noted once a minute. */
export function ago(timestamp) {
  const seconds = (new Date(timestamp) - Date.now()) / 1000;
  for (const [unit, size] of UNITS) {
    if (Math.abs(seconds) >= size) return AGO.format(Math.round(seconds / size), unit);
  }
  return 'just now';
}

/** Milliseconds with two digits that count. */
export function milliseconds(value) {
  return value < 9.95 ? value.toFixed(1) : String(Math.round(value));
}

export function sentence(text) {
  const trimmed = String(text || '').trim();
  if (!trimmed) return '';
  const begun = trimmed[0].toUpperCase() + trimmed.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}

/** What went wrong, and what to do about it. */
export function inWords(error) {
  if (error.name === 'Unreachable') {
    return navigator.onLine ? 'Greenroom cannot be reached at the moment.' : 'You are offline.';
  }
  if (error.name !== 'Problem') return 'Something failed on this page. Reload it, and try again.';
  if (error.status === 500) {
    return `Something failed at our end. ${error.requestId ? `If it happens again, tell us ${error.requestId}.` : ''}`.trim();
  }
  const said = error.errors.length
    ? error.errors.map(({ field, reason, remedy }) => `${sentence(`${field} ${reason}`)} ${sentence(remedy)}`)
    : [sentence(error.detail || error.title)];
  // Some details name the time themselves.
  if (error.retryAfter && !error.detail.includes(` ${error.retryAfter} s`)) said.push(`Try again in ${count(error.retryAfter, 'second')}.`);
  return said.join(' ');
}
