/** Writing a topic or a story: fields, a preview, saving on condition, the conflict, and the deletion. */

import { Problem } from '/page/api.js';
import { announce, h, replace } from '/page/dom.js';
import { go } from '/page/router.js';
import { inWords } from '/page/words.js';
import { awaited, onBench, trail } from './bench.js';
import { conflict, gone } from './conflict.js';
import { draft, dropDraft, keepDraft } from './drafts.js';
import { fieldset } from './fields.js';
import { storyKind, suggestedId, topicKind } from './kinds.js';
import { forgetStory, pane, readTopics } from './pane.js';
import { question } from './question.js';
import { ASKS, clearReceipt, receiptOf, showReceipt } from './receipts.js';
import { call } from './staff.js';

/** In the place of an id, and none that there can be; of a new story before the id of its topic. */
const NEW = '@';
const PLACES = { near: 'the near cache', valkey: 'Valkey', record: 'the record' };

export function newTopicView(main, _parts, signal) {
  return editView(main, { kind: topicKind, id: null, signal });
}

export function topicEditView(main, [id], signal) {
  return editView(main, { kind: topicKind, id, signal });
}

export function newStoryView(main, [topicId], signal) {
  return editView(main, { kind: storyKind, id: null, signal, preset: { topic_id: topicId ?? '' } });
}

export function storyView(main, [id], signal) {
  return editView(main, { kind: storyKind, id, signal });
}

async function editView(main, { kind, id, signal, preset = {} }) {
  awaited(main, 'edit');
  const [topics, read] = await Promise.all([readTopics(signal), id === null ? { data: null, headers: new Headers() } : call(kind.path(id), { signal })]);
  if (signal.aborted) return '';
  const editing = new Editing(main, kind, id, topics, read.data, read.headers.get('etag'), preset);
  editing.show();
  document.addEventListener('keydown', (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === 's') {
      event.preventDefault();
      editing.save();
    }
  }, { signal });
  return editing.title;
}

class Editing {
  constructor(main, kind, id, topics, stored, tag, preset) {
    Object.assign(this, { main, kind, id, topics, stored, tag });
    this.key = kind.key(id ?? NEW + (preset.topic_id ?? ''));
    this.address = id === null ? location.hash : kind.address(id);
    this.base = { ...kind.values(stored), ...preset };
    this.given = kind.fields(topics);
    this.kept = draft(this.key);
    if (this.kept) {
      // What the draft was made of counts, and not what is stored by now: so a change by others meanwhile is noticed.
      this.base = this.kept.base;
      this.tag = this.kept.tag;
    }
    /** What was to be created when the answer was lost: it may be there. */
    this.lost = this.kept?.lost ?? null;
    this.busy = false;
  }

  get title() {
    if (this.id === null) return this.kind.name === 'topic' ? 'New topic' : 'New story';
    return this.kind.title(this.kind.values(this.stored));
  }

  show() {
    const { kind, id } = this;
    const isNewTopic = id === null && kind.name === 'topic';
    const idField = isNewTopic && { name: 'topic_id', label: 'Id', required: true, hint: 'Part of its address, and for good. Letters, digits and . _ ~ -' };
    this.fields = fieldset('edit', [...(idField ? [this.given[0], idField, ...this.given.slice(1)] : this.given)], (name) => this.typed(name));
    this.fields.fill({ ...this.base, ...this.kept?.values });
    this.preview = h('div', {});
    this.trouble = h('div', { class: 'trouble', role: 'alert' });
    this.state = h('p', { class: 'state hint' });
    this.clash = h('div', {});
    this.submit = h('button', { type: 'submit', class: 'primary' }, id === null ? 'Create' : 'Save');
    this.discard = h('button', { type: 'button', class: 'quiet', on: { click: () => this.revert() } }, 'Discard');
    const form = h(
      'form',
      { class: 'edit', method: 'post', novalidate: true, 'aria-label': this.title },
      this.fields.rows,
      this.trouble,
      h('p', { class: 'actions' }, this.submit, this.discard,
        id !== null && h('button', { type: 'button', class: 'button danger', on: { click: () => this.remove() } }, `Delete ${kind.name}`)),
      this.state,
    );
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.save();
    });
    this.way = h('div', {});
    this.heading = h('h1', { tabindex: '-1', dir: 'auto' });
    onBench(this.main, 'edit', [
      this.way,
      h('header', { class: 'head' }, this.heading),
      this.clash,
      h(
        'div',
        { class: 'desk' },
        form,
        h('section', { class: 'preview', 'aria-labelledby': 'preview-title' }, h('h2', { id: 'preview-title' }, 'As listeners will see it'), this.preview),
      ),
    ]);
    this.name();
    this.idTouched = Boolean(this.kept?.values.topic_id) && isNewTopic;
    this.draw();
  }

  /** What the page is about, as it is stored by now. */
  name() {
    const topicId = this.kind.name === 'topic' ? this.id : this.base.topic_id;
    const topic = this.topics.find((one) => one.topic_id === topicId);
    replace(this.way, trail(['Library', '#/'], ...(topic ? [[topic.display_name, `#/topics/${encodeURIComponent(topicId)}`]] : [])));
    this.heading.textContent = this.title;
    pane.mark(topicId || null);
    pane.reveal();
  }

  /** Something was typed: it is kept, and seen in the preview. */
  typed(name) {
    if (this.id === null && this.kind.name === 'topic') {
      if (name === 'topic_id') this.idTouched = true;
      else if (name === 'display_name' && !this.idTouched) this.fields.fill({ topic_id: suggestedId(this.fields.values().display_name) });
    }
    const values = this.fields.values();
    if (this.isDirty(values)) this.keep(values);
    else dropDraft(this.key);
    this.kept = draft(this.key);
    this.draw();
  }

  keep(values) {
    const { base, tag, address, lost } = this;
    keepDraft(this.key, { values, base, tag, address, lost, title: this.kind.title(values) });
  }

  isDirty(values) {
    return Object.keys(values).some((name) => values[name] !== (this.base[name] ?? ''));
  }

  draw() {
    const values = this.fields.values();
    replace(this.preview, this.kind.preview(values, { id: this.id ?? values.topic_id, stored: this.stored, topics: this.topics }));
    const dirty = this.isDirty(values);
    this.discard.hidden = !dirty;
    this.state.textContent = dirty ? 'Not saved yet. It stays here while you go elsewhere on this page.' : this.id === null ? '' : 'As it is stored.';
  }

  revert() {
    dropDraft(this.key);
    announce('Your changes are discarded.');
    go(location.hash);
  }

  async save(values = this.fields.values(), tag = this.tag) {
    if (this.busy || !this.fields.check()) return;
    this.busy = true;
    clearReceipt();
    replace(this.clash);
    this.submit.setAttribute('aria-disabled', 'true');
    replace(this.trouble);
    try {
      if (this.id === null) await this.create(values);
      else await this.change(values, tag);
    } catch (error) {
      await this.complain(error, values);
    } finally {
      this.busy = false;
      this.submit.removeAttribute('aria-disabled');
    }
  }

  async create(values) {
    const isTopic = this.kind.name === 'topic';
    const made = await this.madeBefore(values);
    if (made) {
      this.id = isTopic ? made.topic_id : made.snippet_id;
      const read = await call(this.kind.path(this.id));
      await this.change(values, read.headers.get('etag'), 'Created');
      this.leave();
      return;
    }
    const path = isTopic ? this.kind.path(values.topic_id.trim()) : '/snippets';
    const headers = isTopic ? { ...ASKS, 'If-None-Match': '*' } : ASKS;
    const answer = await call(path, { method: isTopic ? 'PUT' : 'POST', headers, body: this.kind.body(values) });
    const more = this.typedSince(values);
    this.isStored(isTopic ? answer.data.topic_id : answer.data.snippet_id);
    showReceipt('Created', receiptOf(answer.headers));
    this.goOn(answer.data, null, more);
    this.leave();
  }

  /** From the form of something new to the topic's page, or to where one can type on. */
  leave() {
    go(this.kind.name === 'topic' && !this.kept ? `#/topics/${encodeURIComponent(this.id)}` : this.address);
  }

  /**
   * What an earlier try has made whose answer was lost; null where there is none.
   *
   * Prevents: a story is made · its answer is lost · "Create" is pressed once more · there are two.
   */
  async madeBefore(values) {
    const { kind, lost } = this;
    const isTopic = kind.name === 'topic';
    if (!lost || lost.topic_id !== values.topic_id) return null;
    try {
      const { data } = await call(isTopic ? kind.path(lost.topic_id.trim()) : `/snippets?topic_id=${encodeURIComponent(lost.topic_id)}`);
      return [data].flat().find((one) => this.isSame(kind.values(one), lost)) ?? null;
    } catch (error) {
      if (error.status !== 404) throw error;
      return null;
    }
  }

  isSame(one, other) {
    return JSON.stringify(this.kind.body(one)) === JSON.stringify(this.kind.body(other));
  }

  async change(values, tag, done = 'Saved') {
    const condition = { 'If-Match': tag ?? await this.currentTag() };
    const answer = await call(this.kind.path(this.id), { method: 'PUT', headers: { ...ASKS, ...condition }, body: this.kind.body(values) });
    this.isStored(this.id);
    const saved = this.kind.values(answer.data);
    const began = performance.now();
    // What every listener reads next: through the caches, and with the tag for the next edit. It is saved in any case.
    const read = await call(this.kind.path(this.id)).catch(() => null);
    const more = this.typedSince(values);
    if (read) {
      const again = { milliseconds: performance.now() - began, place: PLACES[placeOf(read.headers)] ?? 'the service' };
      showReceipt(done, receiptOf(answer.headers), this.isSame(this.kind.values(read.data), saved) ? again : null);
      this.goOn(read.data, read.headers.get('etag'), more);
    } else {
      showReceipt(done, receiptOf(answer.headers));
      this.goOn(answer.data, null, more);
    }
    if (this.kind.name === 'topic') this.topics = await readTopics().catch(() => this.topics);
    this.name();
    document.title = `${this.title} · Greenroom`;
    if (!this.main.contains(document.activeElement)) this.submit.focus();
  }

  /** The draft has become what is stored under an id; the next draft is one of that. */
  isStored(id) {
    dropDraft(this.key);
    Object.assign(this, { id, key: this.kind.key(id), address: this.kind.address(id), lost: null });
  }

  /** What was typed after `sent` had been sent. */
  typedSince(sent) {
    return Object.fromEntries(Object.entries(this.fields.values()).filter(([name, value]) => value !== sent[name]));
  }

  /**
   * Go on from what is stored by now. What was typed while it was saved stays, as a draft of it.
   *
   * The form stays too, and with it where one was writing: it is filled before anything else is waited for.
   */
  goOn(stored, tag, more) {
    Object.assign(this, { stored, tag, base: this.kind.values(stored) });
    this.fields.fill({ ...this.base, ...more });
    this.typed();
  }

  /** The tag of what is stored, after a save that could not be read again; 412 where others have written since. */
  async currentTag() {
    const { data, headers } = await call(this.kind.path(this.id));
    if (!this.isSame(this.kind.values(data), this.base)) throw new Problem(412, {}, headers);
    return headers.get('etag');
  }

  async complain(error, values) {
    if (this.id === null && (error.name === 'Unreachable' || error.status >= 500)) {
      this.lost = values;
      this.keep(this.fields.values());
    }
    const isNewTopic = this.id === null && this.kind.name === 'topic';
    if (error.status === 412 && isNewTopic) {
      const id = values.topic_id.trim();
      this.fields.refuse([{ field: 'topic_id', reason: 'is taken', remedy: 'Choose another one, or edit the topic that has it.' }]);
      replace(this.trouble, h('p', {}, h('a', { href: this.kind.address(id) }, `Edit the topic ${id}`)));
    } else if (error.status === 412 || (error.status === 404 && this.id !== null)) {
      await this.showConflict();
    } else {
      const others = error.name === 'Problem' ? this.fields.refuse(error.errors) : [];
      if (error.name !== 'Problem' || !error.errors.length || others.length) replace(this.trouble, h('p', {}, inWords(error)));
    }
  }

  async showConflict() {
    let read;
    try {
      read = await call(this.kind.path(this.id));
    } catch (error) {
      if (error.status !== 404) {
        replace(this.trouble, h('p', {}, inWords(error)));
        return;
      }
      const mine = this.fields.values();
      replace(this.clash, gone({
        what: this.kind.name,
        again: () => this.again(mine),
        leave: () => { dropDraft(this.key); go('#/'); },
      }));
      document.getElementById('conflict-title').focus();
      return;
    }
    // With what was typed while the save was under way; from here on the form is hidden.
    const mine = this.fields.values();
    const theirs = this.kind.values(read.data);
    const tag = read.headers.get('etag');
    // From here on it is their version that a save is made of; the draft goes on with it.
    const save = (values) => {
      this.fields.fill(values);
      this.base = theirs;
      this.tag = tag;
      this.typed();
      return this.save(values, tag);
    };
    replace(this.clash, conflict({
      fields: this.given,
      base: this.base,
      mine,
      theirs,
      keep: save,
      merge: save,
      take: () => {
        dropDraft(this.key);
        announce('Their version is taken.');
        go(location.hash);
      },
    }));
    document.getElementById('conflict-title').focus();
  }

  /** Make what others have deleted anew, of what was typed. */
  async again(values) {
    const { id } = this;
    replace(this.clash);
    this.id = null;
    try {
      await this.create({ ...values, topic_id: this.kind.name === 'topic' ? id : values.topic_id });
    } catch (error) {
      this.id = id;
      replace(this.trouble, h('p', {}, inWords(error)));
    }
  }

  async remove() {
    const { kind, id } = this;
    const isTopic = kind.name === 'topic';
    const name = kind.title(kind.values(this.stored));
    let receipt = null;
    const done = await question({
      title: `Delete the ${kind.name} “${name}”?`,
      text: isTopic ? 'Listeners do not find it any more from then on. It cannot be undone.' : 'Listeners do not read it any more from then on, and no podcast is made of it. It cannot be undone.',
      yes: `Delete ${kind.name}`,
      act: async () => {
        const condition = { 'If-Match': this.tag ?? await this.currentTag() };
        receipt = receiptOf((await call(kind.path(id), { method: 'DELETE', headers: { ...ASKS, ...condition } })).headers);
      },
      refused: (error, close) => refusedDeletion(error, id, close),
    });
    if (!done) return;
    dropDraft(this.key);
    if (!isTopic) forgetStory(id);
    showReceipt('Deleted', receipt);
    go(isTopic ? '#/' : `#/topics/${encodeURIComponent(this.stored.topic_id)}`);
  }
}

function refusedDeletion(error, id, close) {
  if (error.status === 409) {
    return [h('p', {}, 'This topic still has stories. Delete them first, or move them to another topic.'), h('p', {}, h('a', { href: `#/topics/${encodeURIComponent(id)}` }, 'Show its stories'))];
  }
  if (error.status === 412) return [h('p', {}, 'Somebody else has changed it since you opened it. Look at it again before you delete it.'), h('p', {}, h('button', { type: 'button', on: { click: () => { close(); go(location.hash); } } }, 'Show it as it is now'))];
  return null;
}

function placeOf(headers) {
  const status = headers.get('cache-status') || '';
  if (!status) return null;
  if (!/;\s*hit/.test(status)) return 'record';
  return /detail=near/.test(status) ? 'near' : 'valkey';
}
