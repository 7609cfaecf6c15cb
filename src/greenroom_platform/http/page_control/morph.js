/** Makes what is shown equal to what was built, and leaves alone what is equal already: focus and selection stay. */

/** Give `parent` these children. Elements with the same `data-key`, or at the same place and of the same tag, are kept. */
export function morph(parent, ...children) {
  const wanted = children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false)
    .map((child) => (typeof child === 'string' ? document.createTextNode(child) : child));
  const keyed = new Map([...parent.children].filter((one) => one.dataset.key).map((one) => [one.dataset.key, one]));
  let at = parent.firstChild;
  for (const child of wanted) {
    const key = child.dataset?.key;
    const there = key ? keyed.get(key) : at;
    if (there && alike(there, child)) {
      if (there !== at) parent.insertBefore(there, at);
      become(there, child);
      at = there.nextSibling;
    } else {
      parent.insertBefore(child, at);
    }
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

function alike(one, other) {
  return one.nodeType === other.nodeType && one.nodeName === other.nodeName && (one.dataset?.key ?? '') === (other.dataset?.key ?? '');
}

function become(there, wanted) {
  if (there.nodeType === Node.TEXT_NODE) {
    if (there.data !== wanted.data) there.data = wanted.data;
    return;
  }
  // What the page itself keeps there: a chart, or a part that a reader has opened.
  if (there.hasAttribute('data-kept')) return;
  for (const { name } of [...there.attributes]) {
    if (!wanted.hasAttribute(name) && name !== 'open') there.removeAttribute(name);
  }
  for (const { name, value } of [...wanted.attributes]) {
    if (there.getAttribute(name) !== value) there.setAttribute(name, value);
  }
  morph(there, [...wanted.childNodes]);
}
