/** Charts by uPlot (its own file, loaded beside this module): stacked reads a second, and how long loads take. */

import { h } from '/page/dom.js';
import { milliseconds, rate } from './format.js';

/** Outcomes as they lie upon each other: what the record is spared below, what it answers on top. */
export const OUTCOMES = [
  ['near', 'near'],
  ['hit', 'Valkey'],
  ['stale', 'stale, refreshed behind'],
  ['shared', 'shared a look-up'],
  ['loaded', 'record'],
  ['bypassed', 'record, past Valkey'],
];

const HEIGHT = 120;
const LEAST = 180;
const DARK = matchMedia('(prefers-color-scheme: dark)');
const CLOCK = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' });

/** A chart of a keyspace that `draw(times, series)` fills; it takes the width that it is given. */
class Chart {
  constructor(label, signal, make) {
    this.element = h('div', { class: 'chart', role: 'img', 'aria-label': label, 'data-kept': true });
    this.make = make;
    this.plot = null;
    this.data = null;
    const observer = new ResizeObserver(() => this.fit());
    observer.observe(this.element);
    const anew = () => this.anew();
    DARK.addEventListener('change', anew);
    signal.addEventListener('abort', () => {
      observer.disconnect();
      DARK.removeEventListener('change', anew);
      this.plot?.destroy();
    });
  }

  draw(data) {
    this.data = data;
    if (this.plot) this.plot.setData(data);
    else this.anew();
  }

  anew() {
    this.plot?.destroy();
    this.plot = null;
    const width = this.element.clientWidth;
    if (!this.data || !width) return;
    this.plot = new window.uPlot({ ...this.make(colours()), width, height: HEIGHT }, this.data, this.element);
  }

  fit() {
    const width = this.element.clientWidth;
    if (!this.plot) this.anew();
    else if (width && width !== this.plot.width) this.plot.setSize({ width, height: HEIGHT });
  }
}

export function readsChart(name, signal) {
  const chart = new Chart(`${name}: reads a second over 15 minutes`, signal, ({ ink, line, of }) => ({
    ...base(ink, line, (value) => tick(value, rate)),
    series: [{}, ...[...OUTCOMES].reverse().map(([outcome]) => ({ stroke: of(outcome), fill: of(outcome), width: 0.5, points: { show: false } }))],
  }));
  return {
    element: chart.element,
    draw(times, keyspace) {
      const sums = times.map(() => 0);
      // Each over what lies below it; drawn from the highest down, so that the lower ones cover it.
      const stacked = OUTCOMES.map(([outcome]) => keyspace.outcomes[outcome].map((value, at) => { sums[at] += value; return sums[at]; }));
      chart.draw([times, ...stacked.reverse()]);
    },
  };
}

export function loadsChart(name, signal) {
  const chart = new Chart(`${name}: time of a load over 15 minutes`, signal, ({ ink, line, of }) => ({
    ...base(ink, line, (value) => tick(value, milliseconds, ' ms')),
    series: [
      {},
      { stroke: of('hit'), width: 2, spanGaps: true, points: { show: true, size: 4, fill: of('hit') } },
      { stroke: of('loaded'), width: 2, spanGaps: true, points: { show: true, size: 4, fill: of('loaded') } },
    ],
  }));
  return {
    element: chart.element,
    draw(times, keyspace) {
      chart.draw([times, keyspace.p50_ms, keyspace.p99_ms]);
    },
  };
}

/** A small number at an axis is round, and is told as it is: 0.25 is not 0.3. */
function tick(value, say, unit = '') {
  return value > 0 && value < 10 ? `${Number(value.toPrecision(3))}${unit}` : say(value);
}

/** What the colours mean. */
export function legend() {
  return h('ul', { class: 'legend', 'aria-label': 'What the colours mean' },
    OUTCOMES.map(([outcome, name]) => h('li', {}, h('span', { class: `swatch ${outcome}`, 'aria-hidden': 'true' }), name)));
}

function base(ink, line, say) {
  const grid = { stroke: line, width: 1 };
  const axis = { stroke: ink, font: '11px system-ui, sans-serif', ticks: { show: false } };
  return {
    legend: { show: false },
    cursor: { show: false },
    padding: [8, 14, 0, 0],
    // A few minutes at least, or the first points would fill the whole width.
    scales: { x: { time: true, range: (_, first, last) => [Math.min(first, last - LEAST), last] }, y: { range: (_, least, most) => [0, most > 0 ? most * 1.1 : 1] } },
    axes: [
      { ...axis, grid: { show: false }, size: 22, space: 56, incrs: [60, 120, 180, 300], values: (_, ticks) => ticks.map((tick) => CLOCK.format(new Date(tick * 1000))) },
      { ...axis, grid, size: 52, space: 34, values: (_, ticks) => ticks.map(say) },
    ],
  };
}

function colours() {
  const style = getComputedStyle(document.body);
  const read = (name) => style.getPropertyValue(name).trim();
  return { ink: read('--soft'), line: read('--line'), of: (outcome) => read(`--of-${outcome}`) };
}
