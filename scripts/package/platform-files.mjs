import { scope } from '../prebuild/targets.mjs';

/**
 * The files of a platform package beside the addon itself.
 *
 * @param {object} options
 * @param {import('../prebuild/targets.mjs').Target} options.target
 * @param {import('../../lib/loading/record.ts').AddonRecord} options.record
 * @param {Record<string, any>} options.manifest ddpm-node's
 * @param {string} options.license ddpm-node's, in full
 * @returns {Record<string, string>} text by file name
 */
export function platformFiles({ target, record, manifest, license }) {
  const name = `${scope}/${target.name}`;
  const { version, author, repository, homepage, bugs, engines } = manifest;
  const own = {
    name,
    version,
    description: `The native addon of ddpm-node for ${target.name.replaceAll('-', ' ')}`,
    license: manifest.license,
    author,
    repository,
    homepage,
    bugs,
    engines,
    os: [target.platform],
    cpu: [target.arch],
    libc: target.libc && [target.libc],
    // Yarn keeps packages in archives, and an addon is loaded from a file.
    preferUnplugged: true,
    files: ['ddpm.node', 'environment.node', 'ddpm.json', 'LICENSE', 'NOTICE.md'],
    exports: { './ddpm.node': './ddpm.node', './ddpm.json': './ddpm.json', './package.json': './package.json' },
  };
  return {
    'package.json': `${JSON.stringify(own, null, 2)}\n`,
    'ddpm.json': `${JSON.stringify(record, null, 2)}\n`,
    LICENSE: license,
    'README.md': readme(name, record),
    'NOTICE.md': notice(name, record),
  };
}

/** @param {string} name @param {import('../../lib/loading/record.ts').AddonRecord} record */
function readme(name, { libtorch, symbols }) {
  const needs = Object.entries(symbols ?? {}).map((pair) => pair.join(' '));
  return `# ${name}

The native addon of ddpm-node, for one platform. Install ddpm-node: it asks for
this package where it fits.

Built against LibTorch ${libtorch.version} (${libtorch.build}), which is not in here: ddpm-node's install step, or
\`npx ddpm setup\`, fetches it once for all projects of a user.${needs.length > 0 ? ` Needs ${needs.join(', ')}.` : ''}
`;
}

/** @param {string} name @param {import('../../lib/loading/record.ts').AddonRecord} record */
function notice(name, { libtorch, variant }) {
  const cuda = `
- **CUDA runtime** (libcudart) and the other libraries of NVIDIA's CUDA toolkit: NVIDIA's end user license agreement,
  https://docs.nvidia.com/cuda/eula. They are fetched with LibTorch; device code in the addon was compiled with NVIDIA's nvcc.`;
  return `# Notices

${name} is a part of ddpm-node, under the license in LICENSE.

The addon contains code that was compiled from the headers of:

- **PyTorch** (LibTorch ${libtorch.version}): BSD 3-Clause license, https://github.com/pytorch/pytorch/blob/v${libtorch.version}/LICENSE.
  Copyright the PyTorch contributors.
- **node-addon-api** and **node-api-headers**: MIT license, https://github.com/nodejs/node-addon-api/blob/main/LICENSE.md.
  Copyright the Node.js API collaborators.

It is linked with these at run time, and holds no copy of them:

- **LibTorch ${libtorch.version}**, which is fetched separately, with the notices of what it contains in its own LICENSE and NOTICE files.
- **The GNU OpenMP and C++ run-time libraries**, where LibTorch and the system bring them: GPL 3 with the GCC Runtime
  Library Exception.${variant === 'cuda' ? cuda : ''}
`;
}
