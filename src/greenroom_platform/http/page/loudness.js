/** How loud a recording is where: made of the sound itself, as it comes. */

/** Samples a second that are decoded: enough to draw with, and a sixth of the memory. */
const RATE = 8_000;
/** Values a second that are kept. */
const PER_SECOND = 10;
/** Clusters that are decoded at once; each is a second. */
const AT_ONCE = 60;
const CLUSTER = 0x1f43b675;
const TIMESTAMP = 0xe7;

export class Loudness {
  #values = [];
  #told;
  #header = null;
  #waiting = [];
  #decoding = false;
  #possible = 'OfflineAudioContext' in window;

  /** @param told called when more of them are known */
  constructor(told) {
    this.#told = told;
  }

  /** What comes next begins with its header. */
  start() {
    this.#header = null;
  }

  /** @param data the header, or one cluster, as an ArrayBuffer */
  add(data) {
    if (!this.#possible) return;
    const seconds = timeOf(data);
    if (seconds === null) {
      this.#header = data;
    } else if (this.#header && this.#values[Math.round(seconds * PER_SECOND)] === undefined) {
      // What was heard before comes again after a seek, and is known.
      this.#waiting.push({ seconds, data });
      this.#decode();
    }
  }

  /** How loud it is between two times, 0 to 1 (the root of the mean square); undefined where nothing has come. */
  between(from, to) {
    const first = Math.floor(from * PER_SECOND);
    const found = this.#values.slice(first, Math.max(first + 1, Math.ceil(to * PER_SECOND))).filter((one) => one !== undefined);
    return found.length ? Math.sqrt(found.reduce((sum, one) => sum + one, 0) / found.length) : undefined;
  }

  async #decode() {
    if (this.#decoding) return;
    this.#decoding = true;
    while (this.#waiting.length && this.#possible) {
      const clusters = this.#consecutive();
      try {
        const whole = await new Blob([this.#header, ...clusters.map(({ data }) => data)]).arrayBuffer();
        this.#measure(await new OfflineAudioContext(1, 1, RATE).decodeAudioData(whole), clusters[0].seconds);
        this.#told();
      } catch {
        // A browser that plays this and cannot decode it: nothing is drawn that is not so.
        this.#possible = false;
      }
    }
    this.#decoding = false;
  }

  #consecutive() {
    let count = 1;
    const follows = (at) => this.#waiting[at].seconds - this.#waiting[at - 1].seconds === 1;
    while (count < Math.min(this.#waiting.length, AT_ONCE) && follows(count)) count += 1;
    return this.#waiting.splice(0, count);
  }

  #measure(sound, seconds) {
    const samples = sound.getChannelData(0);
    const step = RATE / PER_SECOND;
    const first = Math.round(seconds * PER_SECOND);
    for (let at = 0; at * step < samples.length; at += 1) {
      this.#values[first + at] = samples.subarray(at * step, (at + 1) * step).reduce((sum, one) => sum + one * one, 0) / step;
    }
  }
}

/** The seconds at which a cluster begins; null for what is none. */
function timeOf(data) {
  const view = new DataView(data);
  if (view.byteLength < 14 || view.getUint32(0) !== CLUSTER) return null;
  // Its size has as many bytes as the first of them has leading zeros, and one more; then comes its timestamp.
  const at = 5 + Math.clz32(view.getUint8(4)) - 24;
  if (view.getUint8(at) !== TIMESTAMP) return null;
  let milliseconds = 0;
  for (let byte = 0; byte < (view.getUint8(at + 1) & 0x7f); byte += 1) milliseconds = milliseconds * 256 + view.getUint8(at + 2 + byte);
  return milliseconds / 1000;
}
