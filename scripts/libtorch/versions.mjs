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

/**
 * Where PyTorch publishes LibTorch as a single file, by platform and variant: relative to its download site, and, where
 * it is known, the file's SHA-256. A wheel is a zip that holds a complete LibTorch. On Linux the other archives have an
 * OpenMP of another name in them, so what was built with one of the two kinds does not find its libraries in the other.
 *
 * @type {Record<string, { path: string, sha256?: string }>}
 */
export const archives = {
  'linux-x64-cpu': {
    path: `whl/cpu/torch-${pins.cpu.version}%2Bcpu-cp311-cp311-manylinux_2_28_x86_64.whl`,
    sha256: '6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b',
  },
  'linux-arm64-cpu': { path: `whl/cpu/torch-${pins.cpu.version}%2Bcpu-cp311-cp311-manylinux_2_28_aarch64.whl` },
  'linux-x64-cuda': {
    path: `libtorch/${pins.cuda.build}/libtorch-shared-with-deps-${pins.cuda.version}%2B${pins.cuda.build}.zip`,
  },
  'darwin-arm64-cpu': { path: `libtorch/cpu/libtorch-macos-arm64-${pins.cpu.version}.zip` },
  'win32-x64-cpu': { path: `libtorch/cpu/libtorch-win-shared-with-deps-${pins.cpu.version}%2Bcpu.zip` },
  'win32-x64-cuda': {
    path: `libtorch/${pins.cuda.build}/libtorch-win-shared-with-deps-${pins.cuda.version}%2B${pins.cuda.build}.zip`,
  },
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
