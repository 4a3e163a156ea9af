/** What two people made of the same thing, put together. */

type Body = Record<string, unknown>;

/**
 * Take over what they changed, where it was left alone here. Where both changed the same, what is here stands.
 * Lists of things with names, as states are, are put together by the names; other lists are taken as a whole.
 */
export function merge(base: unknown, mine: unknown, theirs: unknown): unknown {
  if (same(mine, base)) return theirs;
  if (same(theirs, base)) return mine;
  if (isBody(mine) && isBody(theirs)) return mergeBodies(isBody(base) ? base : {}, mine, theirs);
  const [before, here, there] = [byName(base), byName(mine), byName(theirs)];
  return before && here && there ? Object.values(mergeBodies(before, here, there)) : mine;
}

/** The order is that of `mine`; what only they have follows. A key is gone if one took it away and the other left it alone. */
function mergeBodies(base: Body, mine: Body, theirs: Body): Body {
  const keys = [...new Set([...Object.keys(mine), ...Object.keys(theirs)])];
  const merged = keys.map((key) => [key, merge(base[key], mine[key], theirs[key])] as const);
  return Object.fromEntries(merged.filter(([, value]) => value !== undefined));
}

/** Things by their names, which come with a mark, so that a name of digits does not change their order. */
function byName(list: unknown): Body | null {
  if (!Array.isArray(list) || !list.every((one) => isBody(one) && typeof one.name === "string")) return null;
  const named = Object.fromEntries((list as Body[]).map((one) => [`=${String(one.name)}`, one]));
  return Object.keys(named).length === list.length ? named : null;
}

const isBody = (value: unknown): value is Body => typeof value === "object" && value !== null && !Array.isArray(value);

function same(one: unknown, other: unknown): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}
