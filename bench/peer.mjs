// The peer: a Python process with PyTorch and diffusers that does the work that it is asked for, one job a line.
import { fileURLToPath } from 'node:url';
import { Side } from './side.mjs';

/** The script, for measurements that need a process of their own. */
export const peerScript = fileURLToPath(new URL('peer/peer.py', import.meta.url));

export class Peer extends Side {
  /** @param {string} python */
  constructor(python) {
    // Threads that wait by spinning would take the cores from the other side.
    super('the peer', python, [peerScript], { env: { OMP_WAIT_POLICY: 'passive', ...process.env } });
    this.python = python;
  }

  /**
   * A side of a measurement.
   *
   * @param {string} name
   * @param {Record<string, unknown>} job
   */
  side(name, job) {
    return { name, run: async () => (await this.ask(job)).seconds };
  }
}
