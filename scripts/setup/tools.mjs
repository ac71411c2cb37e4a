/** The programs that a build needs. */

import { execute, which } from './command.mjs';
import { setupCommand } from './package.mjs';
import { SetupError } from './report.mjs';
import { hasNvcc } from './variant.mjs';

/** What CMakeLists.txt asks for with cmake_minimum_required. */
const minimumCmake = [3, 18];

/**
 * Checks, before anything is downloaded, that the addon can be compiled here.
 *
 * @param {NodeJS.ProcessEnv} env
 * @param {import('./variant.mjs').Variant} [variant]
 * @throws {SetupError} one line that names what is missing and the command that installs it
 */
export async function requireBuildTools(env, variant = 'cpu') {
  const wanted = minimumCmake.join('.');
  const cmake = await execute('cmake', ['--version'], { env });
  if (!cmake.ok) {
    throw missing(`CMake ${wanted} or newer`, 'cmake', cmake.found ? cmake.why : 'it is not on PATH');
  }
  const version = /version (\d+)\.(\d+)/.exec(cmake.stdout)?.slice(1).map(Number);
  if (version && (version[0] < minimumCmake[0] || (version[0] === minimumCmake[0] && version[1] < minimumCmake[1]))) {
    throw missing(`CMake ${wanted} or newer`, 'cmake', `this is ${version.join('.')}`);
  }

  if (variant === 'cuda' && !hasNvcc(env)) {
    throw missing("NVIDIA's nvcc for CUDA", 'nvcc', 'it is neither on PATH nor named in CUDACXX');
  }

  // cmake-js finds Visual Studio by itself, and says so when there is none.
  if (process.platform === 'win32') return;
  const compilers = ['g++', 'clang++'];
  if (!compilers.some((name) => which(name, env))) {
    throw missing('a C++20 compiler', 'compiler', `neither ${compilers.join(' nor ')} is on PATH`);
  }
  if (!['ninja', 'make'].some((name) => which(name, env))) {
    throw missing('Ninja or make', 'make', 'neither is on PATH');
  }
}

const toolkit = 'the CUDA toolkit (https://developer.nvidia.com/cuda-downloads), or set DDPM_VARIANT=cpu';

/** What installs each tool, by platform. */
const installers = {
  linux: {
    cmake: 'sudo apt-get install cmake (Debian, Ubuntu) or sudo dnf install cmake (Fedora, RHEL)',
    compiler: 'sudo apt-get install g++ (Debian, Ubuntu) or sudo dnf install gcc-c++ (Fedora, RHEL)',
    make: 'sudo apt-get install make (Debian, Ubuntu) or sudo dnf install make (Fedora, RHEL)',
    nvcc: toolkit,
  },
  darwin: {
    cmake: 'brew install cmake',
    compiler: 'xcode-select --install',
    make: 'xcode-select --install',
    nvcc: toolkit,
  },
  win32: {
    cmake: 'winget install Kitware.CMake',
    compiler: 'winget install Microsoft.VisualStudio.2022.BuildTools',
    make: 'winget install Ninja-build.Ninja',
    nvcc: toolkit,
  },
};

/**
 * @param {string} what
 * @param {'cmake' | 'compiler' | 'make' | 'nvcc'} tool
 * @param {string} found
 */
function missing(what, tool, found) {
  const platform = process.platform === 'darwin' || process.platform === 'win32' ? process.platform : 'linux';
  return new SetupError(
    `building the native addon needs ${what}, and ${found}; install it with ${installers[platform][tool]}, then run ${setupCommand}.`,
  );
}
