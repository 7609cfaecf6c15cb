/** Where reads are answered: a band from the readers, which grows thin with each layer that answers. */

import { h, svg } from '/page/dom.js';
import { rate, share } from './format.js';

const WIDTH = 1000;
const HEIGHT = 120;
const LEAST = 2;

/** A band in three parts, one for what each layer leaves to the next, and the numbers below. */
export function flowPicture(flow) {
  const { reads } = flow;
  const layers = [
    { name: 'Near', rate: flow.near, say: 'kept in this process' },
    { name: 'Valkey', rate: flow.valkey, say: 'kept for all' },
    { name: 'Record', rate: flow.record, say: 'looked up' },
  ];
  const left = [reads, reads - flow.near, flow.record + flow.shared];
  return h('div', { class: 'flow' },
    reads > 0 && band(reads, left),
    h('ol', { class: 'stations' },
      station('readers', 'Readers', reads, 'reads a second', null),
      layers.map((layer) => station(layer.name.toLowerCase(), layer.name, layer.rate, layer.say, reads ? layer.rate / reads : null))),
    flow.shared > 0 && h('p', { class: 'hint' }, `${rate(flow.shared)} a second waited for a look-up that another had begun.`));
}

function station(name, title, value, say, part) {
  return h('li', { class: name },
    h('span', { class: 'name' }, title),
    h('span', { class: 'rate' }, rate(value), h('small', {}, '/s')),
    h('span', { class: 'say' }, part === null ? say : `${share(part)} · ${say}`));
}

function band(reads, left) {
  const drawn = svg('svg', { class: 'band', viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', 'aria-hidden': 'true', focusable: 'false' });
  const names = ['near', 'valkey', 'record'];
  const step = WIDTH / 4;
  const high = left.map((value) => (reads && value > 0 ? Math.max(LEAST, (value / reads) * HEIGHT) : 0));
  names.forEach((name, number) => {
    const from = high[number];
    const to = high[number + 1] ?? high[number];
    if (!from) return;
    const x = step * (number + 0.5);
    const end = number === 2 ? x + step : x + step;
    const middle = (x + end) / 2;
    const [top, bottom, top2, bottom2] = [(HEIGHT - from) / 2, (HEIGHT + from) / 2, (HEIGHT - to) / 2, (HEIGHT + to) / 2];
    const path = `M${x} ${top} L${middle} ${top} C${end} ${top} ${middle} ${top2} ${end} ${top2} L${end} ${bottom2} C${middle} ${bottom2} ${end} ${bottom} ${middle} ${bottom} L${x} ${bottom} Z`;
    drawn.append(svg('path', { class: name, d: path }));
  });
  return drawn;
}
