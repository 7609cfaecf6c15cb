/** A topic's signature: a waveform and a hue that follow from its id, the same on every visit. */

import { svg } from './dom.js';

const STEP = 4;
const WIDTH = 2.4;
const ROUND = 1.2;
const HEIGHT = 32;

/** With `cut` it fills its box, and what does not fit is cut off; without, all of it is seen. */
export function wave(seed, bars, { cut = false } = {}) {
  const random = generator(hash(seed));
  const [slow, fast, shift] = [1 + random() * 2, 4 + random() * 5, random() * 6.28];
  const heights = Array.from({ length: bars }, (_, at) => {
    const along = (at / bars) * 6.28;
    // Speech comes in phrases: a slow swell, a quicker rhythm in it, and a little chance.
    const swell = 0.55 + 0.45 * Math.sin(along * slow + shift);
    const rhythm = 0.6 + 0.4 * Math.sin(along * fast + shift * 2);
    return Math.max(2, HEIGHT * swell * rhythm * (0.65 + 0.35 * random()));
  });
  return svg(
    'svg',
    { class: 'wave', viewBox: `0 0 ${bars * STEP - STEP + WIDTH} ${HEIGHT}`, preserveAspectRatio: `xMinYMid ${cut ? 'slice' : 'meet'}`, 'aria-hidden': 'true', focusable: 'false' },
    // One shape: a page has hundreds of bars, and an element for each would be most of what it lays out.
    svg('path', { d: heights.map((height, at) => bar(at * STEP, height)).join('') }),
  );
}

/** A bar with round ends, in the middle of the height. */
function bar(x, height) {
  const end = Math.min(ROUND, height / 2);
  const turn = `a${ROUND} ${end.toFixed(2)} 0 0 1`;
  const side = (height - 2 * end).toFixed(2);
  return `M${x} ${((HEIGHT - height) / 2 + end).toFixed(2)}${turn} ${WIDTH} 0v${side}${turn} -${WIDTH} 0z`;
}

/** Give an element its topic's hue. */
export function tinted(element, seed) {
  element.style.setProperty('--hue', String(hash(seed) % 360));
  return element;
}

function hash(text) {
  let value = 0x811c9dc5;
  for (const character of text) value = Math.imul(value ^ character.codePointAt(0), 0x01000193) >>> 0;
  return value;
}

function generator(seed) {
  let state = seed || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 0x100000000;
  };
}
