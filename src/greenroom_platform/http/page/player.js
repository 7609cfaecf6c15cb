/** Plays one podcast, also while it is being made. What it shows is in `controls.js`. */

import { Buffer } from './buffer.js';
import { keepListening, keptListening } from './listening.js';
import { Loudness } from './loudness.js';
import { describeToKeys, showOnKeys } from './media_keys.js';
import { recording } from './recording.js';
import { changes, session } from './session.js';
import { follow } from './status.js';
import { Stream } from './stream.js';

const MIME = 'audio/webm; codecs="opus"';
const STALLED = 20_000;
const MENDS = 3;

/**
 * `change` when anything but the time did, `time` when the position or its end moved, `loudness` when more of it is known,
 * `leaving` before a podcast is left.
 */
class Player extends EventTarget {
  /** {podcastId, topicId, title}, or null. */
  podcast = null;
  /** idle, preparing, waiting, playing, paused, ended or failed. */
  phase = 'idle';
  /** What to say of it, besides the phase. */
  message = '';
  /** What stands against the connection; what is buffered plays on. */
  trouble = '';
  /** The last status of its making. */
  status = null;
  /** Whether this browser can play it only when it is whole. */
  plain = false;
  /** How loud it is where, as far as it has come; null where that cannot be known. */
  loudness = null;
  /** Whether the browser has refused to begin by itself. */
  blocked = false;

  #audio = document.getElementById('audio');
  #buffer = null;
  #stream = null;
  #control = null;
  #wants = false;
  #mends = 0;
  #stall = 0;
  #kept = 0;

  constructor() {
    super();
    const audio = this.#audio;
    const phases = { playing: 'playing', pause: 'paused', waiting: 'waiting', ended: 'ended' };
    for (const [event, phase] of Object.entries(phases)) {
      audio.addEventListener(event, () => {
        if (event === 'pause' && audio.ended) return;
        if (this.podcast && !this.prepared && audio.currentSrc) this.#now(phase);
      });
    }
    audio.addEventListener('waiting', () => this.#watchStall());
    audio.addEventListener('playing', () => clearTimeout(this.#stall));
    audio.addEventListener('seeking', () => this.#sought());
    audio.addEventListener('timeupdate', () => this.#moved());
    audio.addEventListener('durationchange', () => this.#tell('time'));
    audio.addEventListener('error', () => this.#broken());
    changes.addEventListener('change', () => this.#pace());
    window.addEventListener('pagehide', () => this.#keep());
  }

  get time() {
    return this.#audio.currentTime;
  }

  /** Up to where one can seek: the recording's end, or that of what has come so far. */
  get end() {
    const { duration, buffered } = this.#audio;
    if (Number.isFinite(duration)) return duration;
    return buffered.length ? buffered.end(buffered.length - 1) : 0;
  }

  get whole() {
    return Number.isFinite(this.#audio.duration);
  }

  /** Whether it plays, or will as soon as there is something to play. */
  get on() {
    return this.#wants && !['idle', 'failed', 'ended'].includes(this.phase);
  }

  /** Whether play would do anything: of a podcast that could not be made there is nothing to play. */
  get playable() {
    return this.phase !== 'failed' || this.status?.status !== 'error';
  }

  /** Whether it waits to be told what it will play. */
  get prepared() {
    return this.podcast?.podcastId === '';
  }

  /** In a click, before it is known what will be played: some browsers grant sound only then. */
  prepare(title) {
    if (this.on) return;
    this.stop();
    this.podcast = { podcastId: '', topicId: '', title };
    if (Buffer.possible(MIME)) this.#attach();
    this.#play();
    this.#now('preparing');
  }

  /** Play a podcast from `at` seconds on; it may still be in the making. */
  listen(podcast, { at = 0, play = true } = {}) {
    const { prepared } = this;
    if (!prepared) this.stop();
    this.podcast = podcast;
    this.status = null;
    this.message = '';
    this.#control = new AbortController();
    this.#mends = 0;
    this.plain = !Buffer.possible(MIME);
    this.loudness = this.plain ? null : new Loudness(() => this.#tell('loudness'));
    this.#watchStatus();
    if (this.plain) {
      this.#wants = play;
      this.message = this.#audio.canPlayType(MIME)
        ? 'This browser cannot play it while it is being made. It begins by itself when it is whole.'
        : 'This browser cannot play WebM audio. Once the podcast is ready you can download it.';
    } else {
      if (!prepared) this.#attach();
      this.#begin(at);
      if (play) this.#play();
      else this.#audio.pause();
    }
    this.#now(play ? 'waiting' : 'paused');
    describeToKeys(this);
  }

  toggle() {
    if (this.on) {
      this.#wants = false;
      this.#audio.pause();
      this.#now('paused');
    } else if (this.phase === 'failed') {
      this.listen(this.podcast, { at: this.time });
    } else {
      this.#play();
      // Before there is anything to hear, no event will say so.
      if (this.#audio.readyState < HTMLMediaElement.HAVE_FUTURE_DATA) this.#now('waiting');
    }
  }

  seek(seconds) {
    if (!this.podcast || !this.end) return;
    this.#audio.currentTime = Math.min(Math.max(0, seconds), this.end);
    this.#tell('time');
  }

  skip(seconds) {
    this.seek(this.time + seconds);
  }

  /** Close the player. */
  stop() {
    if (this.podcast?.podcastId) this.#tell('leaving');
    clearTimeout(this.#stall);
    this.#control?.abort();
    this.#stream?.close();
    this.#buffer?.close();
    this.#stream = this.#buffer = this.#control = this.loudness = null;
    this.#wants = this.blocked = false;
    this.podcast = null;
    this.status = null;
    this.trouble = this.message = '';
    this.#audio.pause();
    this.#audio.removeAttribute('src');
    this.#audio.load();
    this.#keep();
    this.#now('idle');
  }

  /** Go on with what this tab was listening to before it was loaded again. */
  resume() {
    const kept = keptListening();
    if (kept && !this.podcast) this.listen(kept.podcast, { at: kept.at, play: false });
  }

  #attach() {
    this.#buffer = new Buffer(this.#audio, {
      grown: () => this.#tell('time'),
      broken: () => this.#broken(),
    });
    this.#pace();
  }

  #begin(at) {
    let first = true;
    this.#stream = new Stream(this.podcast.podcastId, {
      start: (mime) => {
        this.#buffer.start(mime, first ? at : null);
        this.loudness.start();
        first = false;
      },
      data: (data) => {
        this.#buffer.append(data);
        this.loudness.add(data);
      },
      end: () => this.#buffer.end(),
      fail: (detail) => this.#fail(detail),
      trouble: (text) => { this.trouble = text; this.#tell('change'); },
      position: () => (first ? at : this.#buffer.reached(this.time)),
    });
    this.#stream.open(at);
  }

  // Something outside of what is buffered: the part before a late start, or one that made room for another.
  #sought() {
    if (!this.#stream || !this.#buffer || this.#audio.seeking === false) return;
    const { time } = this;
    if (!this.#buffer.holds(time) && this.end) this.#stream.open(time);
  }

  // A dead connection need not be closed: a listener who has waited this long asks again.
  #watchStall() {
    clearTimeout(this.#stall);
    if (!this.#stream) return;
    this.#stall = setTimeout(() => {
      if (!this.#stream || this.#stream.ended || this.phase !== 'waiting') return;
      this.#stream.open(this.#buffer.reached(this.time));
      this.#watchStall();
    }, STALLED);
  }

  #broken() {
    if (!this.podcast || !this.#audio.currentSrc) return;
    if (this.plain || this.#mends >= MENDS) {
      this.#fail('the recording cannot be played in this browser');
      return;
    }
    this.#mends += 1;
    const at = this.time;
    this.#stream?.close();
    this.#buffer?.close();
    this.#attach();
    this.#begin(at);
    if (this.#wants) this.#play();
  }

  async #watchStatus() {
    const { signal } = this.#control;
    const { podcastId } = this.podcast;
    try {
      await follow(podcastId, (status) => { this.status = status; this.#tell('change'); }, signal);
      if (signal.aborted) return;
      if (this.status.status === 'error') this.#fail(this.status.error_message || 'the podcast could not be made');
      else if (this.plain) this.#playWhole();
    } catch (error) {
      if (!signal.aborted) this.#fail(error.detail || 'this podcast is no longer here');
    }
  }

  #playWhole() {
    if (!this.#audio.canPlayType(MIME)) return;
    this.message = 'The whole recording: this browser cannot play it in parts.';
    this.#audio.src = recording(this.podcast.podcastId);
    this.#pace();
    if (this.#wants) this.#play();
    this.#tell('change');
  }

  #play() {
    this.#wants = true;
    this.blocked = false;
    this.#audio.play().catch((error) => {
      // Sound that nobody has clicked for is refused; a new source ends the wait for the old one.
      if (error.name !== 'NotAllowedError') return;
      this.#wants = false;
      this.blocked = true;
      this.#now('paused');
    });
  }

  #pace() {
    const speed = session.preferences.playback_speed_default;
    this.#audio.defaultPlaybackRate = speed;
    this.#audio.playbackRate = speed;
    this.#tell('change');
  }

  #moved() {
    if (!this.podcast) return;
    this.#tell('time');
    if (Date.now() - this.#kept > 2_000) this.#keep();
  }

  #keep() {
    this.#kept = Date.now();
    keepListening(this.podcast?.podcastId ? { podcast: this.podcast, at: this.phase === 'ended' ? 0 : this.time } : null);
  }

  #fail(detail) {
    // What has come can be heard to its end.
    this.message = detail;
    this.#stream?.close();
    this.#stream = null;
    this.trouble = '';
    if (this.#buffer?.holds(this.time)) this.#buffer.end();
    else this.#now('failed');
    this.#tell('change');
  }

  #now(phase) {
    if (phase === 'ended') this.#wants = false;
    this.phase = phase;
    showOnKeys(phase === 'idle' ? 'none' : this.on ? 'playing' : 'paused');
    this.#tell('change');
  }

  #tell(type) {
    this.dispatchEvent(new Event(type));
  }
}

export const player = new Player();
