/**
 * Keywords as they are typed: one a line.
 *
 * Whatever the API has stored comes back as it was, when another field is saved: a keyword that its line alone would
 * not give, as one of two lines or with blanks at its ends, is written as a string of JSON.
 */

export function keywordsOf(text) {
  return text.split('\n').map(keyword).filter(Boolean);
}

export function textOf(keywords) {
  return keywords.map((one) => (!/[\r\n]/.test(one) && keyword(one) === one ? one : JSON.stringify(one))).join('\n');
}

function keyword(line) {
  const plain = line.trim();
  if (!plain.startsWith('"')) return plain;
  try {
    const read = JSON.parse(plain);
    return typeof read === 'string' ? read : plain;
  } catch {
    return plain;
  }
}
