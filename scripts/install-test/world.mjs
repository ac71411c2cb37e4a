/** A place to install into as users do: folders of its own, and a PATH on which there is Node and nothing to build with. */

import { execFile, spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { which } from '../setup/command.mjs';

const here = dirname(fileURLToPath(import.meta.url));

/**
 * @typedef {object} Finished
 * @property {number | string | null} code
 * @property {string} stdout
 * @property {string} output both streams
 * @property {number} seconds
 */

export class World {
  /**
   * @param {object} options
   * @param {string} options.node the Node to use
   * @param {string} options.tarball ddpm-node's
   * @param {string} options.scopeRegistry of the platform packages
   * @param {string} options.registry of everything else
   * @param {string} options.cache for DDPM_CACHE
   */
  constructor({ node, tarball, scopeRegistry, registry, cache }) {
    this.node = realpathSync(node);
    this.tarball = tarball;
    this.scopeRegistry = scopeRegistry;
    this.registry = registry;
    this.cache = cache;
    this.root = realpathSync(mkdtempSync(join(tmpdir(), 'ddpm-install-')));
    this.bin = join(this.root, 'bin');
    mkdirSync(this.bin);
    symlinkSync(this.node, join(this.bin, 'node'));
    // npm runs scripts with a shell, and the commands that pnpm makes are written for one.
    for (const name of ['sh', 'sed', 'dirname', 'uname']) {
      const file = which(name);
      if (file) symlinkSync(realpathSync(file), join(this.bin, name));
    }
  }

  /** @param {NodeJS.ProcessEnv} more */
  environment(more = {}) {
    // What npm tells the scripts that it runs, as perhaps this one, and what steers our own must not leak in.
    const inherited = Object.entries(process.env).filter(
      ([name]) => !/^(npm_|DDPM_|LIBTORCH$|INIT_CWD$|NODE_OPTIONS$)/.test(name),
    );
    return {
      ...Object.fromEntries(inherited),
      PATH: this.bin,
      DDPM_CACHE: this.cache,
      DDPM_VARIANT: 'cpu',
      OMP_NUM_THREADS: '2',
      npm_config_registry: this.registry,
      npm_config_audit: 'false',
      npm_config_fund: 'false',
      npm_config_update_notifier: 'false',
      ...more,
    };
  }

  /**
   * An application that asks for ddpm-node.
   *
   * @param {string} name of its folder, below the world's
   */
  application(name) {
    const folder = join(this.root, name);
    mkdirSync(join(folder, 'vendor'), { recursive: true });
    cpSync(this.tarball, join(folder, 'vendor', basename(this.tarball)));
    for (const program of ['use.cjs', 'neighbours.cjs']) cpSync(join(here, program), join(folder, program));
    const dependencies = { 'ddpm-node': `file:vendor/${basename(this.tarball)}` };
    writeFileSync(
      join(folder, 'package.json'),
      JSON.stringify({ name: 'app', version: '1.0.0', private: true, dependencies }),
    );
    writeFileSync(join(folder, '.npmrc'), `@ddpm-node:registry=${this.scopeRegistry}\nregistry=${this.registry}\n`);
    return folder;
  }

  /**
   * Runs Node to its end.
   *
   * @param {string[]} args
   * @param {string} cwd
   * @param {NodeJS.ProcessEnv} [env] beside the world's
   * @param {{ uid?: number }} [as]
   * @returns {Promise<Finished>}
   */
  run(args, cwd, env = {}, { uid } = {}) {
    const begin = performance.now();
    return new Promise((resolve) => {
      const options = { cwd, env: this.environment(env), maxBuffer: 64 << 20, uid, gid: uid };
      execFile(this.node, args, options, (error, stdout, stderr) => {
        const code = error === null ? 0 : (error.code ?? error.signal ?? null);
        resolve({ code, stdout, output: stdout + stderr, seconds: (performance.now() - begin) / 1000 });
      });
    });
  }

  /**
   * Starts Node in a process group of its own, which {@link kill} ends as a power cut would.
   *
   * @param {string[]} args
   * @param {string} cwd
   * @param {NodeJS.ProcessEnv} [env]
   */
  start(args, cwd, env = {}) {
    const child = spawn(this.node, args, { cwd, env: this.environment(env), stdio: 'ignore', detached: true });
    const ended = new Promise((resolve) => child.on('exit', resolve));
    const kill = () => {
      process.kill(-(/** @type {number} */ (child.pid)), 'SIGKILL');
      return ended;
    };
    return { kill, ended };
  }

  /** @param {string[]} args @param {string} cwd @param {NodeJS.ProcessEnv} [env] */
  npm(args, cwd, env) {
    return this.run([npmProgram(), ...args], cwd, env);
  }

  remove() {
    rmSync(this.root, { recursive: true, force: true });
  }
}

/** npm's program, which any Node can run. */
export function npmProgram() {
  const beside = [
    process.env.npm_execpath,
    join(dirname(process.execPath), '..', 'lib', 'node_modules', 'npm', 'bin', 'npm-cli.js'),
    join(dirname(process.execPath), 'node_modules', 'npm', 'bin', 'npm-cli.js'),
  ];
  const found = beside.find((file) => file !== undefined && existsSync(file) && /npm-cli\.js$/.test(file));
  if (found === undefined) throw new Error('npm was not found beside Node; run this with npm run test:install');
  return found;
}
