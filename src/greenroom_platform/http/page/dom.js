/** Builds elements. Text is only ever set as text: nothing on this page takes markup. */

const SVG = 'http://www.w3.org/2000/svg';

/**
 * An element. `attributes.on` holds listeners by event; true and false add and leave out an attribute; of the children
 * strings become text, and null and false nothing.
 */
export function h(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

export function icon(name) {
  return svg('svg', { class: 'icon', 'aria-hidden': 'true', focusable: 'false' }, svg('use', { href: `#i-${name}` }));
}

export function replace(parent, ...children) {
  parent.replaceChildren(...children.flat().filter(present));
}

/** Tell a screen reader, without moving the focus. */
export function announce(text) {
  const announcer = document.getElementById('announcer');
  // The same words once more are announced only as a change.
  announcer.textContent = '';
  requestAnimationFrame(() => { announcer.textContent = text; });
}

/** A message over the player, where it is seen wherever the page is scrolled to; it stays until it is dismissed. */
export function notify(text) {
  const notice = document.getElementById('notice');
  const close = h('button', { type: 'button', class: 'plain', 'aria-label': 'Dismiss', on: { click: dismiss } }, icon('close'));
  replace(notice, h('p', {}, text), close);
}

export function clearNotice() {
  replace(document.getElementById('notice'));
}

function dismiss() {
  clearNotice();
  document.getElementById('main').focus({ preventScroll: true });
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === 'on') {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else if (value === true) {
      element.setAttribute(name, '');
    } else if (value !== false && value !== null && value !== undefined) {
      element.setAttribute(name, value);
    }
  }
  element.append(...children.flat().filter(present));
  return element;
}

function present(child) {
  return child !== null && child !== undefined && child !== false;
}
