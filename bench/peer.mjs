// The peer: a Python process with PyTorch and diffusers that does the work that it is asked for, one job a line.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const script = fileURLToPath(new URL('peer/peer.py', import.meta.url));

export class Peer {
  /** @param {string} python */
  constructor(python) {
    this.python = python;
    // Threads that wait by spinning would take the cores from the other side.
    this.child = spawn(python, [script], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { OMP_WAIT_POLICY: 'passive', ...process.env },
    });
    this.answers = createInterface({ input: this.child.stdout })[Symbol.asyncIterator]();
  }

  /**
   * @param {Record<string, unknown>} job
   * @returns {Promise<{ seconds: number, versions?: Record<string, string> }>}
   */
  async ask(job) {
    this.child.stdin.write(`${JSON.stringify(job)}\n`);
    const { value, done } = await this.answers.next();
    if (done) throw new Error('the peer has ended');
    const answer = JSON.parse(value);
    if (answer.error) throw new Error(`the peer: ${answer.error}`);
    return answer;
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

  close() {
    this.child.stdin.end();
  }
}

/** The script, for measurements that need a process of their own. */
export const peerScript = script;
