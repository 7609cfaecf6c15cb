/** What an audio element plays from: a media source that is fed one operation at a time. */

const Source = window.ManagedMediaSource || window.MediaSource;
const KEPT_BEHIND = 30;
const EDGE = 0.05;
const GAP = 1;

export class Buffer {
  #audio;
  #listener;
  #media = null;
  #source = null;
  #address = '';
  #mime = '';
  #queue = [];
  #full = false;
  #wanted = null;
  #time = () => { if (this.#full) { this.#full = false; this.#next(); } };

  /** Whether this browser can play what comes in parts. */
  static possible(mime) {
    return Boolean(Source?.isTypeSupported(mime));
  }

  /**
   * @param listener.grown called after each part
   * @param listener.broken called when nothing can be appended any more
   */
  constructor(audio, listener) {
    this.#audio = audio;
    this.#listener = listener;
    this.#media = new Source();
    this.#media.addEventListener('sourceopen', () => this.#opened());
    if (Source === window.ManagedMediaSource) audio.disableRemotePlayback = true;
    this.#address = URL.createObjectURL(this.#media);
    audio.src = this.#address;
    audio.addEventListener('timeupdate', this.#time);
  }

  /**
   * What is appended from now on begins with its header, as a connection does: what waits of the last one is dropped,
   * and the parser forgets the cluster that it may have been in.
   *
   * @param from where to play once there is something; the first that comes, if that is later
   */
  start(mime, from = null) {
    this.#mime ||= mime;
    if (from !== null) this.#wanted = from;
    this.#queue = [{ reset: true }];
    this.#full = false;
    this.#opened();
    this.#next();
  }

  append(data) {
    this.#queue.push({ data });
    this.#next();
  }

  /** Nothing comes after what was appended. */
  end() {
    this.#queue.push({ end: true });
    this.#next();
  }

  holds(time) {
    return this.#rangeOf(time) !== null;
  }

  /** Up to where it can play from `time` on; `time` itself where it cannot. */
  reached(time) {
    return this.#rangeOf(time)?.end ?? time;
  }

  close() {
    this.#audio.removeEventListener('timeupdate', this.#time);
    this.#queue = [];
    this.#source = null;
    URL.revokeObjectURL(this.#address);
  }

  #opened() {
    // It opens again after an end, too.
    if (this.#source || !this.#mime || this.#media.readyState !== 'open') return;
    this.#source = this.#media.addSourceBuffer(this.#mime);
    this.#source.addEventListener('updateend', () => { this.#settle(); this.#listener.grown(); this.#next(); });
    this.#source.addEventListener('error', () => this.#listener.broken());
    this.#next();
  }

  #next() {
    if (!this.#source || this.#full) return;
    while (this.#queue.length && !this.#source.updating) {
      const { data, reset, end } = this.#queue[0];
      try {
        if (data) this.#source.appendBuffer(data);
        if (reset && this.#media.readyState === 'open') this.#source.abort();
        if (end && this.#media.readyState === 'open') this.#media.endOfStream();
      } catch (error) {
        if (error.name === 'QuotaExceededError') this.#makeRoom();
        else this.#listener.broken();
        return;
      }
      this.#queue.shift();
      if (end) this.#listener.grown();
    }
  }

  // HeardPodcast parts go first; where there are none, it waits until some have been heard.
  #makeRoom() {
    const heard = this.#audio.currentTime - KEPT_BEHIND;
    const { buffered } = this.#source;
    if (buffered.length && buffered.start(0) < heard) this.#source.remove(0, heard);
    else this.#full = true;
  }

  // A listener who joins late, or whose part begins a moment after the point that was asked for, is taken to its start.
  #settle() {
    const { buffered } = this.#audio;
    if (!buffered.length) return;
    if (this.#wanted !== null) {
      const wanted = this.#wanted;
      this.#wanted = null;
      const at = this.holds(wanted) ? wanted : buffered.start(buffered.length - 1);
      if (Math.abs(at - this.#audio.currentTime) > EDGE || !this.holds(this.#audio.currentTime)) this.#audio.currentTime = at;
      return;
    }
    const time = this.#audio.currentTime;
    if (this.holds(time)) return;
    for (let at = 0; at < buffered.length; at += 1) {
      const start = buffered.start(at);
      if (start > time && start - time < GAP) {
        this.#audio.currentTime = start;
        return;
      }
    }
  }

  #rangeOf(time) {
    const { buffered } = this.#audio;
    for (let at = 0; at < buffered.length; at += 1) {
      const [start, end] = [buffered.start(at), buffered.end(at)];
      if (time >= start - EDGE && time < end + EDGE) return { start, end };
    }
    return null;
  }
}
