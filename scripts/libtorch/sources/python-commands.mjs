import { wheelPythons } from '../versions.mjs';

/**
 * The names under which Python is found, the most usual first.
 *
 * @param {NodeJS.Platform} platform
 */
export function pythonCommands(platform) {
  if (platform === 'win32') return ['python', 'py'];
  return ['python3', 'python', ...wheelPythons.toReversed().map((version) => `python${version}`)];
}

/**
 * Why none of them served, those that gave the same reason together.
 *
 * @param {NodeJS.Platform} platform
 * @param {{ command: string, why: string }[]} refusals one for each that was found
 */
export function whyNoPython(platform, refusals) {
  if (refusals.length === 0) return `no Python on PATH (looked for ${pythonCommands(platform).join(', ')})`;
  const reasons = [...new Set(refusals.map(({ why }) => why))];
  const commands = (/** @type {string} */ reason) =>
    refusals.filter(({ why }) => why === reason).map(({ command }) => command);
  return reasons.map((reason) => `${commands(reason).join(', ')}: ${reason}`).join('\n');
}
