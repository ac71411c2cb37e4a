// The ways in which the peer can do a job: each may be the fastest on some machine.

/**
 * @param {import('./peer.mjs').Peer} peer
 * @param {Record<string, unknown>} job
 * @param {boolean} quick Leaves out what takes long to compile.
 * @returns {import('./measure.mjs').Side[]}
 */
export function compiledAndNot(peer, job, quick) {
  /** @type {import('./measure.mjs').Side[]} */
  const sides = [];
  for (const precision of ['float32', 'bfloat16']) {
    for (const compiled of quick ? [false] : [false, true]) {
      for (const channelsLast of compiled ? [false] : [false, true]) {
        const how = [precision, compiled ? 'compiled' : 'eager', ...(channelsLast ? ['channels-last'] : [])].join(' ');
        sides.push(peer.side(`peer ${how}`, { ...job, precision, compiled, channelsLast }));
      }
    }
  }
  return sides;
}
