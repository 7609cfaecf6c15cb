/** Where two texts differ, word by word. */

/** Words of both together above which they are shown without marks: the comparison costs their product. */
const MOST = 4_000_000;

/** [[text, differs]] of `text`, as against `other`. */
export function differences(text, other) {
  const [mine, theirs] = [words(text), words(other)];
  if (mine.length * theirs.length > MOST) return [[text, false]];
  const common = longestCommon(mine, theirs);
  const parts = [];
  mine.forEach((word, index) => {
    const blank = word.trim() === '';
    // Blanks between two words that differ belong to them, at the ends of such words to nothing.
    const differs = blank ? differing(mine, common, index - 1) && differing(mine, common, index + 1) : !common.has(index);
    const last = parts.at(-1);
    if (last && last[1] === differs) last[0] += word;
    else parts.push([word, differs]);
  });
  return parts;
}

function differing(words_, common, index) {
  return index >= 0 && index < words_.length && !common.has(index);
}

function words(text) {
  return text.split(/(\s+)/).filter(Boolean);
}

/** The indexes in `one` of a longest common subsequence. */
function longestCommon(one, other) {
  const width = other.length + 1;
  const lengths = new Uint16Array((one.length + 1) * width);
  for (let row = one.length - 1; row >= 0; row -= 1) {
    for (let column = other.length - 1; column >= 0; column -= 1) {
      lengths[row * width + column] = one[row] === other[column]
        ? lengths[(row + 1) * width + column + 1] + 1
        : Math.max(lengths[(row + 1) * width + column], lengths[row * width + column + 1]);
    }
  }
  const found = new Set();
  for (let row = 0, column = 0; row < one.length && column < other.length;) {
    if (one[row] === other[column]) {
      found.add(row);
      row += 1;
      column += 1;
    } else if (lengths[(row + 1) * width + column] >= lengths[row * width + column + 1]) row += 1;
    else column += 1;
  }
  return found;
}
