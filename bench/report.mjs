/** @param {{ rows: import('./index.mjs').Row[], ratios: import('./index.mjs').Ratio[] }} result */
export function print({ rows, ratios }) {
  let last = '';
  for (const row of rows) {
    if (row.case !== last) console.log(`\n${row.case}`);
    last = row.case;
    console.log(
      `  ${row.name.padEnd(36)} ${text(row.median, row.unit).padStart(12)}  fastest ${text(row.fastest, row.unit)}`,
    );
  }
  if (ratios.length > 0) console.log('');
  for (const { what, value, limit } of ratios) {
    const verdict =
      limit === undefined ? '' : value <= limit ? ` (at most ${limit}: met)` : ` (at most ${limit}: NOT met)`;
    console.log(`  ${what}: ${value.toFixed(3)}${verdict}`);
  }
}

/**
 * @param {number} value
 * @param {string} [unit]
 */
function text(value, unit) {
  if (unit === 'loss') return value.toFixed(5);
  if (unit === 'bytes') return `${(value / 2 ** 20).toFixed(0)} MiB`;
  return value < 1 ? `${(1000 * value).toFixed(1)} ms` : `${value.toFixed(2)} s`;
}
