// A process that does jobs: one JSON object a line in, one out.
import { spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { createInterface } from 'node:readline';

export class Side {
  /**
   * @param {string} name
   * @param {string} program
   * @param {string[]} args
   * @param {object} [options]
   * @param {NodeJS.ProcessEnv} [options.env]
   * @param {string} [options.log] A file for what it writes to stderr, instead of our own.
   */
  constructor(name, program, args, { env = process.env, log } = {}) {
    this.name = name;
    this.child = spawn(program, args, { env });
    this.child.stderr.pipe(log === undefined ? process.stderr : createWriteStream(log, { flags: 'a' }));
    this.child.on('error', () => {}); // told by the next job
    this.child.stdin.on('error', () => {});
    this.answers = createInterface({ input: this.child.stdout })[Symbol.asyncIterator]();
    /** @type {Promise<unknown>} */
    this.last = Promise.resolve();
  }

  /**
   * Jobs are done one after another.
   *
   * @param {Record<string, unknown>} job
   * @returns {Promise<{ seconds: number, versions?: Record<string, string> }>}
   */
  ask(job) {
    const asked = this.last.then(async () => {
      this.child.stdin.write(`${JSON.stringify(job)}\n`);
      const { value, done } = await this.answers.next();
      if (done) throw new Error(`${this.name} has ended`);
      const answer = JSON.parse(value);
      if (answer.error) throw new Error(`${this.name}: ${answer.error}`);
      return answer;
    });
    this.last = asked.catch(() => {});
    return asked;
  }

  /** Lets nothing of it run until `go()`. */
  pause() {
    this.child.kill('SIGSTOP');
  }

  go() {
    this.child.kill('SIGCONT');
  }

  close() {
    this.child.stdin.end();
  }

  kill() {
    this.child.kill('SIGKILL');
  }
}
