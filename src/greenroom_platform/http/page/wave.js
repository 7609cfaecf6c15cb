/** A topic's signature: a waveform and a hue that follow from its id, the same on every visit. */

import { svg } from './dom.js';

const STEP = 4;
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
    { class: 'wave', viewBox: `0 0 ${bars * STEP - 1.6} ${HEIGHT}`, preserveAspectRatio: `xMinYMid ${cut ? 'slice' : 'meet'}`, 'aria-hidden': 'true', focusable: 'false' },
    heights.map((height, at) => svg('rect', {
      x: at * STEP, y: ((HEIGHT - height) / 2).toFixed(2), width: 2.4, height: height.toFixed(2), rx: 1.2,
    })),
  );
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
