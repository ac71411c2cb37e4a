/** The releases of LibTorch that this package is built with: the only place that names them. */

/**
 * @typedef {object} Pin
 * @property {string} version release
 * @property {string} build PyTorch's name for this build: the label after `+`, and the folder on its download site
 */

/** @type {Record<'cpu' | 'cuda', Pin>} */
export const pins = {
  cpu: { version: '2.13.0', build: 'cpu' },
  cuda: { version: '2.14.1', build: 'cu130' },
};

/** The releases of Python that the pinned wheels are published for. */
export const wheelPythons = ['3.10', '3.11', '3.12', '3.13', '3.14'];

/**
 * The part of a version that decides the C++ interface: one binary fits one minor release.
 *
 * @param {string} version `2.13.0+cpu`
 * @returns {string} `2.13`
 */
export function minorOf(version) {
  return version.split('.').slice(0, 2).join('.');
}
