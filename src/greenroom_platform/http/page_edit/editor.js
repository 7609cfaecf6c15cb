/** Writing a topic or a story: fields, a preview, and what becomes of what is typed while it is saved, or refused. */

import { announce, h, replace } from '/page/dom.js';
import { go } from '/page/router.js';
import { inWords } from '/page/words.js';
import { awaited, onBench, trail } from './bench.js';
import { conflict, gone } from './conflict.js';
import { deletion } from './deletion.js';
import { draft, dropDraft, keepDraft } from './drafts.js';
import { fieldset } from './fields.js';
import { storyKind, suggestedId, topicKind } from './kinds.js';
import { forgetStory, pane, readTopics } from './pane.js';
import { clearReceipt, goWithReceipt, receiptOf, showReceipt } from './receipts.js';
import { change, create, currentTag, isSame, madeBefore, readAgain } from './saving.js';
import { call } from './staff.js';

/** In the place of an id, and none that there can be; of a new story before the id of its topic. */
const NEW = '@';
/** Saves under way, by the keys of their drafts. */
const saves = new Map();

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
  const key = kind.key(id ?? NEW + (preset.topic_id ?? ''));
  awaited(main, 'edit', { anew: saves.has(key) });
  // Prevents: a save is under way · one goes elsewhere, and comes back · what is typed then is made of what was stored
  // before · one's own save refuses it as another's, or a story is made twice.
  await saves.get(key);
  if (signal.aborted) return '';
  const [topics, read] = await Promise.all([readTopics(signal), id === null ? { data: null, headers: new Headers() } : call(kind.path(id), { signal })]);
  if (signal.aborted) return '';
  const editing = new Editing({ main, kind, id, key, signal, topics, stored: read.data, tag: read.headers.get('etag') }, preset);
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
  constructor(about, preset) {
    Object.assign(this, about);
    const { kind, id, topics } = about;
    this.address = id === null ? location.hash : kind.address(id);
    this.base = { ...kind.values(this.stored), ...preset };
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
    // While it is saved, what was there before is another version.
    if (this.isDirty(values) || (name && this.busy)) this.keep(values);
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
    if (this.busy || this.signal.aborted || !this.fields.check()) return;
    clearReceipt();
    await this.saving(() => (this.id === null ? this.create(values) : this.change(values, tag)), values);
  }

  /** Save as `work` does. */
  async saving(work, values) {
    const { key } = this;
    this.busy = true;
    replace(this.clash);
    replace(this.trouble);
    this.submit.setAttribute('aria-disabled', 'true');
    const done = work().catch((error) => this.complain(error, values)).finally(() => {
      this.busy = false;
      this.submit.removeAttribute('aria-disabled');
      if (!this.isDirty(draft(this.key)?.values ?? {})) dropDraft(this.key);
      this.kept = draft(this.key);
      saves.delete(key);
    });
    saves.set(key, done);
    await done;
  }

  async create(values) {
    const { kind } = this;
    const idOf = (one) => (kind.name === 'topic' ? one.topic_id : one.snippet_id);
    const made = await madeBefore(kind, this.lost, values);
    if (made) {
      this.goOn(idOf(made), made, this.lost);
      await this.change(values, null, 'Created');
    } else {
      const answer = await this.send(values);
      this.goOn(idOf(answer.data), answer.data, values);
      showReceipt('Created', receiptOf(answer.headers));
    }
    if (!this.signal.aborted) goWithReceipt(kind.name === 'topic' && !this.kept ? `#/topics/${encodeURIComponent(this.id)}` : this.address);
  }

  /** Send something new; where the answer is lost, it may be made all the same. */
  async send(values) {
    const { idTouched } = this;
    // The id is on its way: what is typed into the name suggests no other one.
    this.idTouched = true;
    try {
      return await create(this.kind, values);
    } catch (error) {
      const typed = this.typedNow();
      if (error.name !== 'Unreachable' && error.status < 500) this.idTouched = idTouched;
      else if (typed) {
        this.lost = values;
        this.keep(typed);
      }
      throw error;
    }
  }

  async change(values, tag, done = 'Saved') {
    const { kind, id } = this;
    const answer = await change(kind, id, values, tag ?? await currentTag(kind, id, this.base));
    this.goOn(id, answer.data, values);
    // With the tag for the next edit. Where others have written since, that edit has none, and meets them.
    const again = await readAgain(kind, id);
    const isOurs = again && isSame(kind, kind.values(again.data), kind.values(answer.data));
    showReceipt(done, receiptOf(answer.headers), isOurs ? again : null);
    if (isOurs) this.tag = again.tag;
    if (this.signal.aborted) return;
    if (kind.name === 'topic') this.topics = await readTopics(this.signal).catch(() => this.topics);
    if (this.signal.aborted) return;
    this.name();
    document.title = `${this.title} · Greenroom`;
    if (!this.main.contains(document.activeElement)) this.submit.focus();
  }

  /** What is typed by now: here, or in the draft that is left where one went elsewhere; null where it was discarded. */
  typedNow() {
    return this.signal.aborted ? draft(this.key)?.values ?? null : this.fields.values();
  }

  /**
   * Go on from what is stored. What was typed since `sent` was sent stays, as a draft of it.
   *
   * The form stays too, and with it where one was writing: it is filled before anything else is waited for.
   */
  goOn(id, stored, sent) {
    const { kind } = this;
    const typed = this.typedNow() ?? sent;
    const more = this.given.filter(({ name }) => typed[name] !== sent[name]).map(({ name }) => [name, typed[name]]);
    dropDraft(this.key);
    Object.assign(this, { id, stored, tag: null, base: kind.values(stored), key: kind.key(id), address: kind.address(id), lost: null });
    this.fields.fill({ ...this.base, ...Object.fromEntries(more) });
    // What was made may have been found, and typed into, elsewhere by now.
    if (!this.signal.aborted || !draft(this.key)) this.typed();
  }

  async complain(error, values) {
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
      document.getElementById('conflict-title')?.focus();
      return;
    }
    // With what was typed while the save was under way; from here on the form is hidden.
    const mine = this.fields.values();
    const theirs = this.kind.values(read.data);
    const tag = read.headers.get('etag');
    // From here on it is their version that a save is made of; the draft goes on with it.
    const save = (values) => {
      // It may be refused: then the form is to be seen.
      replace(this.clash);
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
    document.getElementById('conflict-title')?.focus();
  }

  /** Make what others have deleted anew, of what was typed. */
  async again(values) {
    if (this.busy) return;
    const { id, kind } = this;
    await this.saving(async () => {
      this.id = null;
      try {
        await this.create({ ...values, topic_id: kind.name === 'topic' ? id : values.topic_id });
      } catch (error) {
        this.id ??= id;
        replace(this.trouble, h('p', {}, inWords(error)));
      }
    });
  }

  async remove() {
    if (this.busy) return;
    const { kind, id } = this;
    const name = kind.title(kind.values(this.stored));
    const deleted = await deletion(kind, id, name, () => this.tag ?? currentTag(kind, id, this.base));
    if (!deleted) return;
    dropDraft(this.key);
    if (kind.name === 'story') forgetStory(id);
    showReceipt('Deleted', deleted.receipt);
    goWithReceipt(kind.name === 'topic' ? '#/' : `#/topics/${encodeURIComponent(this.stored.topic_id)}`);
  }
}
