/** What a person reads last: one short table. */

import { besideTuned, seconds, tuned } from '../../bench/cuda/index.mjs';

/**
 * @param {{
 *   card?: { name: string } | undefined, versions: Record<string, unknown>, processor: { model: string },
 *   parts: Record<string, { status: string, seconds: number, [more: string]: unknown }>,
 *   rows: import('../../bench/cuda/index.mjs').Row[], ceilings: any, kernels: Record<string, any>, notes: string[],
 * }} results
 */
export function table({ card, versions, processor, parts, rows, ceilings, kernels, notes }) {
  const lines = ['', `${card?.name ?? processor.model}, PyTorch ${versions.pytorch}`, ''];
  for (const [name, { status, seconds: took, passed, failed, why }] of Object.entries(parts)) {
    const counts = passed === undefined ? '' : `${passed} passed, ${failed} failed`;
    const reason = status === 'skipped' ? String(why) : counts;
    lines.push(`  ${name.padEnd(12)} ${status.padEnd(8)} ${took.toFixed(1).padStart(6)} s  ${reason}`);
  }
  const cases = [...new Set(rows.map((row) => row.case))];
  if (cases.length > 0) {
    lines.push('', row('', 'here', 'eager', 'here/eager', 'compiled', 'here/it', 'TFLOP/s', 'of peak'));
  }
  for (const name of cases) {
    const of = (/** @type {string} */ whose) => rows.find((one) => one.case === name && one.name === whose);
    const [ours, eager, compiled] = [of('here'), of('PyTorch eager'), of(tuned)];
    const time = (/** @type {typeof ours} */ one) =>
      one === undefined
        ? ''
        : one.unit === 'bytes'
          ? `${(one.median / 2 ** 30).toFixed(2)} GiB`
          : seconds(1000 * one.median);
    const ratio = (/** @type {typeof ours} */ a, /** @type {typeof ours} */ b) =>
      a && b ? (a.median / b.median).toFixed(2) : '';
    const rate = ours?.flops ? ours.flops / ours.median : undefined;
    lines.push(
      row(
        name,
        time(ours),
        time(eager),
        ratio(ours, eager),
        time(compiled),
        ratio(of(besideTuned), compiled),
        rate ? (rate / 1e12).toFixed(1) : '',
        rate && ceilings && name.includes('bfloat16')
          ? `${Math.round((100 * rate) / ceilings.bfloat16FlopsPerSecond)} %`
          : '',
      ),
    );
  }
  if (ceilings) {
    const { bfloat16FlopsPerSecond: product, copyBytesPerSecond: copy } = ceilings;
    lines.push(
      '',
      `  a bfloat16 product: ${(product / 1e12).toFixed(1)} TFLOP/s; a copy: ${(copy / 1e9).toFixed(0)} GB/s`,
    );
  }
  for (const [what, { busyShare, slowest }] of Object.entries(kernels)) {
    lines.push('', `  ${what}: kernels run ${(100 * busyShare).toFixed(0)} % of the time; the slowest:`);
    for (const { name, share, calls } of slowest.slice(0, 10)) {
      lines.push(
        `  ${(100 * share).toFixed(1).padStart(5)} %  ${String(calls).padStart(6)} calls  ${name.slice(0, 90)}`,
      );
    }
  }
  if (notes.length > 0) lines.push('', ...notes.map((note) => `  note: ${note}`));
  return lines.join('\n');
}

/**
 * @param {string} first
 * @param {string[]} cells
 */
function row(first, ...cells) {
  return `  ${first.padEnd(46)} ${cells.map((cell) => cell.padStart(12)).join('')}`;
}
