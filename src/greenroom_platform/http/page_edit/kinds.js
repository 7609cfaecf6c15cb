/** Topics and stories: their fields, and how what is typed becomes what the API takes. */

import { keywordsOf, textOf } from './keywords.js';
import { storyPreview, topicPreview } from './previews.js';

const part = encodeURIComponent;

export const topicKind = {
  name: 'topic',
  key: (id) => `topic:${id}`,
  path: (id) => `/topics/${part(id)}`,
  address: (id) => `#/topics/${part(id)}/edit`,
  fields: () => [
    { name: 'display_name', label: 'Name', required: true, hint: 'As listeners see it on the card.' },
    { name: 'description', label: 'Description', kind: 'area', rows: 4, hint: 'One or two sentences: what it is about.' },
    { name: 'keywords', label: 'Keywords', kind: 'area', rows: 4, hint: 'One a line. The first four stand on the card.' },
  ],
  values: (topic) => ({
    topic_id: topic?.topic_id ?? '',
    display_name: topic?.display_name ?? '',
    description: topic?.description ?? '',
    keywords: textOf(topic?.keywords ?? []),
  }),
  body: (values) => ({
    display_name: values.display_name.trim(),
    description: values.description.trim(),
    keywords: keywordsOf(values.keywords),
  }),
  title: (values) => values.display_name.trim() || 'Topic without a name',
  preview: topicPreview,
};

export const storyKind = {
  name: 'story',
  key: (id) => `story:${id}`,
  path: (id) => `/snippets/${part(id)}`,
  address: (id) => `#/stories/${part(id)}`,
  fields: (topics) => [
    { name: 'topic_id', label: 'Topic', kind: 'select', required: true, options: topics.map((one) => [one.topic_id, one.display_name]) },
    { name: 'title', label: 'Title', required: true },
    { name: 'text_content', label: 'Text', kind: 'area', rows: 12, required: true, reads: true },
    { name: 'image_url', label: 'Picture', hint: 'An address. A picture of this host is shown; one elsewhere becomes a link.' },
    { name: 'cover_art_prompt', label: 'Prompt for cover art', kind: 'area', rows: 2, hint: 'For whoever makes the picture; listeners do not see it.' },
  ],
  values: (story) => ({
    topic_id: story?.topic_id ?? '',
    title: story?.title ?? '',
    text_content: story?.text_content ?? '',
    image_url: story?.image_url ?? '',
    cover_art_prompt: story?.cover_art_prompt ?? '',
  }),
  body: (values) => {
    const body = { topic_id: values.topic_id, title: values.title.trim(), text_content: values.text_content.trim() };
    // Left out, and not empty: the API tells a story without a picture from one with an empty address.
    for (const name of ['image_url', 'cover_art_prompt']) {
      if (values[name].trim()) body[name] = values[name].trim();
    }
    return body;
  },
  title: (values) => values.title.trim() || 'Story without a title',
  preview: storyPreview,
};

/** An id that a name suggests: "Deep-sea life" → "deep_sea_life". */
export function suggestedId(name) {
  return name.normalize('NFKD').replace(/[\u0300-\u036f]/g, '').toLowerCase().replace(/[^a-z0-9]+/g, '_').replace(/^_+|_+$/g, '').slice(0, 64);
}
