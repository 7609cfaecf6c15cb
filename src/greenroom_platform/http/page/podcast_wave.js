/** The wave of a podcast that plays: what has come of its sound, how much was heard, and where to go on by a click. */

import { h, replace, svg } from './dom.js';
import { player } from './player.js';
import { clock } from './words.js';

const BARS = 120;
const STEP = 4;
const HEIGHT = 40;
const LEAST = 2;
/** As loud as speech is: it fills the height. */
const LOUD = 0.25;
/** What is loud and what is quiet is seen better than the numbers differ. */
const CONTRAST = 1.6;

/**
 * The wave, as an element.
 *
 * @param mine whether the player plays this podcast
 */
export function podcastWave(mine, signal) {
  const bars = Array.from({ length: BARS }, (_, at) => svg('rect', { x: at * STEP, width: 2.4, rx: 1.2 }));
  const drawing = svg(
    'svg',
    { class: 'wave', viewBox: `0 0 ${BARS * STEP - 1.6} ${HEIGHT}`, 'aria-hidden': 'true', focusable: 'false' },
    // The gaps between the bars can be hit as well.
    svg('rect', { class: 'ground', width: BARS * STEP, height: HEIGHT }),
    bars,
  );
  const hover = h('span', { class: 'hover', 'aria-hidden': 'true' });
  // The slider of the player does the same for the keyboard and for screen readers.
  const box = h('div', { class: 'podcast-wave' }, drawing, hover);

  function draw() {
    const length = mine() ? shownLength() : 0;
    box.classList.toggle('live', length > 0);
    bars.forEach((bar, at) => {
      const loudness = length ? player.loudness?.between((at * length) / BARS, ((at + 1) * length) / BARS) : undefined;
      const height = loudness === undefined ? LEAST : Math.min(HEIGHT, Math.max(LEAST, (loudness / LOUD) ** CONTRAST * HEIGHT));
      bar.setAttribute('y', ((HEIGHT - height) / 2).toFixed(2));
      bar.setAttribute('height', height.toFixed(2));
    });
    colour();
  }

  function colour() {
    const length = mine() ? shownLength() : 0;
    const played = length ? player.time / length : 0;
    const come = length ? player.end / length : 0;
    bars.forEach((bar, at) => {
      bar.classList.toggle('played', at < played * BARS);
      bar.classList.toggle('empty', at >= come * BARS);
    });
  }

  function timeAt(event) {
    const { left, width } = drawing.getBoundingClientRect();
    return Math.min(Math.max(0, (event.clientX - left) / width) * shownLength(), player.end);
  }

  drawing.addEventListener('click', (event) => { if (mine() && player.end) player.seek(timeAt(event)); });
  drawing.addEventListener('pointermove', (event) => {
    if (event.pointerType !== 'mouse' || !mine() || !player.end) return;
    replace(hover, clock(timeAt(event)));
    hover.style.setProperty('--at', `${event.clientX - box.getBoundingClientRect().left}px`);
  });
  let known = 0;
  const grown = () => {
    // A new length moves every bar; most moves of the time do not.
    if (shownLength() === known) colour();
    else draw();
    known = shownLength();
  };
  player.addEventListener('loudness', draw, { signal });
  player.addEventListener('change', draw, { signal });
  player.addEventListener('time', grown, { signal });
  draw();
  return box;
}

// While it is recorded nobody knows how long it will be: a bar is a second, and two when that does not suffice, and so
// on. What was heard keeps its place until then, instead of shrinking with each second that comes.
function shownLength() {
  if (player.whole || !player.end) return player.end;
  return BARS * 2 ** Math.max(0, Math.ceil(Math.log2(player.end / BARS)));
}
