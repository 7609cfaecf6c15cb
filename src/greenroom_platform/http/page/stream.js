/** A podcast's socket: its messages in order, opened again from where the listener is whenever it is lost. */

import { ask, settled } from './api.js';
import { reach } from './reach.js';
import { load } from './session.js';

const FIRST = 500;
const LONGEST = 15_000;
const BUSY = 3_000;
const CLOSE = { overload: 1013, session: 4401, unknown: 4404 };

export class Stream {
  #podcastId;
  #listener;
  #socket = null;
  #timer = 0;
  #losses = 0;
  #open = false;
  #back = () => { if (this.#timer) this.#again(0); };

  /**
   * @param listener.start called with the MIME type when a connection begins: what comes next starts with its header
   * @param listener.data called with each cluster
   * @param listener.end called when the recording is whole
   * @param listener.fail called with a sentence when it cannot go on
   * @param listener.trouble called with a sentence while it is not connected, and with '' when it is again
   * @param listener.position called for the seconds from which to go on
   */
  constructor(podcastId, listener) {
    this.#podcastId = podcastId;
    this.#listener = listener;
    reach.addEventListener('back', this.#back);
  }

  /** Whether everything from the last `open` on has come. */
  ended = false;

  /** Begin, or begin anew elsewhere. */
  open(from) {
    this.#drop();
    this.ended = false;
    this.#open = true;
    this.#connect(from);
  }

  close() {
    this.#open = false;
    this.#drop();
    reach.removeEventListener('back', this.#back);
  }

  #drop() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    const socket = this.#socket;
    this.#socket = null;
    socket?.close(1000);
  }

  #connect(from) {
    const url = new URL(`/api/v1/podcasts/${encodeURIComponent(this.#podcastId)}/stream`, location.href);
    url.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:';
    if (from > 0) url.searchParams.set('from', from.toFixed(3));
    const socket = new WebSocket(url);
    socket.binaryType = 'arraybuffer';
    this.#socket = socket;
    socket.addEventListener('message', ({ data }) => { if (socket === this.#socket) this.#take(data); });
    socket.addEventListener('close', ({ code }) => { if (socket === this.#socket) this.#lost(code); });
  }

  #take(data) {
    if (typeof data !== 'string') {
      this.#losses = 0;
      this.#listener.data(data);
      return;
    }
    const message = JSON.parse(data);
    if (message.type === 'stream_start') {
      this.#listener.trouble('');
      this.#listener.start(message.mime);
    } else if (message.type === 'stream_end') {
      this.ended = true;
      this.#listener.end();
      this.#drop();
    } else if (message.type === 'error') {
      this.#stop(message.detail);
    }
  }

  async #lost(code) {
    this.#socket = null;
    this.#losses += 1;
    if (code === CLOSE.unknown) {
      this.#stop('this podcast is no longer here');
    } else if (code === CLOSE.session && this.#losses === 1) {
      // Signed in or out here: the new cookie comes with an answer, maybe after this. Prevents: the stream's old session
      // ends · it begins again with the old cookie, whose copy is good for a while · the answer comes with the new one ·
      // the new session does not know that somebody listens. Ended elsewhere: nobody needs a session to listen.
      await settled();
      this.#again(0);
      load().catch(() => {});
    } else if (code === CLOSE.overload) {
      this.#listener.trouble('Greenroom is busy. Waiting for a place.');
      this.#again(BUSY + this.#backoff());
    } else {
      this.#listener.trouble('The connection was lost. Connecting again.');
      const wait = this.#backoff();
      this.#again(wait);
      await this.#ask();
    }
  }

  // A refused handshake tells a script nothing. An ordinary request does: that there is no such podcast, or that
  // nothing answers, and then the banner is up and its `back` ends the wait.
  async #ask() {
    try {
      await ask(`/podcasts/${encodeURIComponent(this.#podcastId)}/status`, { quiet: true });
    } catch (error) {
      if (this.#open && error.status === 404) this.#stop('this podcast is no longer here');
    }
  }

  #again(wait) {
    clearTimeout(this.#timer);
    if (!this.#open) return;
    this.#timer = setTimeout(() => {
      this.#timer = 0;
      this.#connect(this.#listener.position());
    }, wait);
  }

  #backoff() {
    const most = Math.min(LONGEST, FIRST * 2 ** Math.min(this.#losses - 1, 10));
    return most * (0.5 + Math.random() / 2);
  }

  #stop(detail) {
    this.close();
    this.#listener.fail(detail);
  }
}
