/** What is different between two texts, line by line. */

export interface Piece {
  kind: "same" | "new" | "gone";
  text: string;
}

const AROUND = 1; // unchanged lines that are shown around a change
const MOST = 2_000_000; // cells of the table; texts that need more are compared by their ends alone

export function difference(before: string, after: string): Piece[] {
  const [a, b] = [before.split("\n"), after.split("\n")];
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head++;
  let tail = 0;
  while (tail < a.length - head && tail < b.length - head && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail++;
  const same = (lines: string[]): Piece[] => lines.map((text) => ({ kind: "same", text }));
  return [...same(a.slice(0, head)), ...middle(a.slice(head, a.length - tail), b.slice(head, b.length - tail)), ...same(a.slice(a.length - tail))];
}

/** Compare by the longest common subsequence. */
function middle(a: string[], b: string[]): Piece[] {
  const gone = (text: string): Piece => ({ kind: "gone", text });
  const fresh = (text: string): Piece => ({ kind: "new", text });
  const width = b.length + 1;
  if (a.length * b.length > MOST || !a.length || !b.length) return [...a.map(gone), ...b.map(fresh)];
  const lengths = new Uint32Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      lengths[i * width + j] = a[i] === b[j] ? lengths[(i + 1) * width + j + 1]! + 1 : Math.max(lengths[(i + 1) * width + j]!, lengths[i * width + j + 1]!);
    }
  }
  const pieces: Piece[] = [];
  let [i, j] = [0, 0];
  while (i < a.length && j < b.length) {
    if (a[i] === b[j]) {
      pieces.push({ kind: "same", text: a[i]! });
      i++;
      j++;
    } else if (lengths[(i + 1) * width + j]! >= lengths[i * width + j + 1]!) pieces.push(gone(a[i++]!));
    else pieces.push(fresh(b[j++]!));
  }
  return [...pieces, ...a.slice(i).map(gone), ...b.slice(j).map(fresh)];
}

/** Leave out what is the same, but for the lines around each change; a gap is a piece without text. */
export function folded(pieces: Piece[]): (Piece | null)[] {
  const near = (at: number) => pieces.slice(Math.max(0, at - AROUND), at + AROUND + 1).some((piece) => piece.kind !== "same");
  return pieces.reduce<(Piece | null)[]>((kept, piece, at) => {
    if (near(at)) kept.push(piece);
    else if (kept.at(-1) !== null) kept.push(null);
    return kept;
  }, []);
}
