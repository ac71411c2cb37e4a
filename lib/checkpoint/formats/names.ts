/** Names that come from files, in messages. */

/** Names listed of each kind of problem. */
const MOST_LISTED = 20;

/** On one line, and cut where it is long. */
export function quote(text: string): string {
  return JSON.stringify(text.length > 200 ? `${text.slice(0, 200)}…` : text);
}

/** A line that counts and names what has a problem; none where nothing has. */
export function listed(what: string, names: readonly string[]): string[] {
  if (names.length === 0) return [];
  const rest = names.length > MOST_LISTED ? ` and ${names.length - MOST_LISTED} more` : '';
  return [`${names.length} ${what}: ${names.slice(0, MOST_LISTED).join('; ')}${rest}`];
}
